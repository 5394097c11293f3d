// What Sluice asks of a deployment to read and delete one user's files by index.
// Internal functions: the deploy key may call them over HTTP, an app's users may not.

import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { internalMutation, internalQuery } from "./_generated/server";

/** A page of the user's files, newest first. */
export const byUser = internalQuery({
  args: { user: v.string(), paginationOpts: paginationOptsValidator },
  handler: async (ctx, { user, paginationOpts }) =>
    await ctx.db
      .query("files")
      .withIndex("by_user", (q) => q.eq("user", user))
      .order("desc")
      .paginate(paginationOpts),
});

/** Those of the user's files that have these ids, in the order of `ids`. Of several with one `id`, the newest. */
export const getMany = internalQuery({
  args: { user: v.string(), ids: v.array(v.string()) },
  handler: async (ctx, { user, ids }) => {
    const files = await Promise.all(
      ids.map(async (id) => {
        const byId = await ctx.db
          .query("files")
          .withIndex("by_user_id", (q) => q.eq("user", user).eq("id", id))
          .order("desc")
          .first();
        if (byId !== null) {
          return byId;
        }
        const docId = ctx.db.normalizeId("files", id);
        const file = docId === null ? null : await ctx.db.get(docId);
        return file?.user === user ? file : null;
      }),
    );
    return files.filter((file) => file !== null);
  },
});

/** Deletes those of these documents that are the user's. Again is no error: they are gone then. */
export const remove = internalMutation({
  args: { user: v.string(), docIds: v.array(v.string()) },
  handler: async (ctx, { user, docIds }) => {
    let deleted = 0;
    for (const id of docIds) {
      const docId = ctx.db.normalizeId("files", id);
      const file = docId === null ? null : await ctx.db.get(docId);
      if (file?.user === user) {
        await ctx.db.delete(file._id);
        deleted += 1;
      }
    }
    return { deleted };
  },
});
