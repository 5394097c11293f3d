//! The functions of file sync; each is headed by its KEYS, ARGV, return value and cost in
//! `lua/filesync/`.

crate::library::library! {
    "sluice_filesync" from "../../../../lua/filesync/" {
        shared ["../need", "../log", "common", "record", "tree", "rules", "judge", "perform", "outcome"],
        files [
            "apply", "changes", "conflicts", "feed", "resolve", "resolve_path", "share_create",
            "share_delete", "share_grant", "share_read", "share_set", "snapshot", "sweep",
            "trim",
        ],
        apply = "filesync_apply",
        changes = "filesync_changes",
        conflicts = "filesync_conflicts",
        feed = "filesync_feed",
        resolve = "filesync_resolve",
        resolve_path = "filesync_resolve_path",
        share_create = "filesync_share_create",
        share_delete = "filesync_share_delete",
        share_grant = "filesync_share_grant",
        share_read = "filesync_share_read",
        share_set = "filesync_share_set",
        snapshot = "filesync_snapshot",
        sweep = "filesync_sweep",
        trim = "filesync_trim",
    }
}
