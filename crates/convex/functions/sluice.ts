// What Sluice asks of a deployment to read and delete one user's files by index.
// Internal functions: the deploy key may call them over HTTP, an app's users may not.

import { paginationOptsValidator } from "convex/server";
import { convexToJson, v } from "convex/values";
import type { Doc } from "./_generated/dataModel";
import { internalMutation, internalQuery, type QueryCtx } from "./_generated/server";

/** After so many bytes of documents a call reads no more. Convex breaks a function off at 16 MiB. */
const ENOUGH_BYTES = 4 * 1024 * 1024;
/** Documents read at once, of at most 1 MiB each: so much more than `ENOUGH_BYTES` may be read. */
const AT_ONCE = 8;

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

/**
 * Those of the user's files that have these ids, in the order of `ids`. Of several with one `id`, the newest.
 * `answered` tells how many of the ids were looked for, whether found or not: at least one of them, and not all when
 * the documents are large. The caller asks for the rest.
 */
export const getMany = internalQuery({
  args: { user: v.string(), ids: v.array(v.string()) },
  handler: async (ctx, { user, ids }) => {
    const page: Doc<"files">[] = [];
    let answered = 0;
    let bytes = 0;
    while (answered < ids.length && bytes < ENOUGH_BYTES) {
      const some = ids.slice(answered, answered + AT_ONCE);
      for (const file of await Promise.all(some.map((id) => find(ctx, user, id)))) {
        bytes += size(file);
        if (file?.user === user) {
          page.push(file);
        }
      }
      answered += some.length;
    }
    return { page, answered };
  },
});

/**
 * Deletes those of these documents that are the user's. Again is no error: they are gone then.
 * `answered` tells how many of the documents were looked at: at least one of them, and not all when they are large.
 * The caller asks for the rest.
 */
export const remove = internalMutation({
  args: { user: v.string(), docIds: v.array(v.string()) },
  handler: async (ctx, { user, docIds }) => {
    let deleted = 0;
    let answered = 0;
    let bytes = 0;
    for (const id of docIds) {
      if (bytes >= ENOUGH_BYTES) {
        break;
      }
      const file = await get(ctx, id);
      if (file?.user === user) {
        await ctx.db.delete(file._id);
        deleted += 1;
      }
      bytes += size(file);
      answered += 1;
    }
    return { deleted, answered };
  },
});

/** The user's newest file with this `id`, or else the document with this `_id`, whosever it is. */
async function find(ctx: QueryCtx, user: string, id: string): Promise<Doc<"files"> | null> {
  const byId = await ctx.db
    .query("files")
    .withIndex("by_user_id", (q) => q.eq("user", user).eq("id", id))
    .order("desc")
    .first();
  return byId ?? (await get(ctx, id));
}

async function get(ctx: QueryCtx, id: string): Promise<Doc<"files"> | null> {
  const docId = ctx.db.normalizeId("files", id);
  return docId === null ? null : await ctx.db.get(docId);
}

/** About as many bytes as were read for this document. */
function size(file: Doc<"files"> | null): number {
  return file === null ? 0 : new TextEncoder().encode(JSON.stringify(convexToJson(file))).length;
}
