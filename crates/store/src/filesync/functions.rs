//! The functions of file sync; each is headed by its KEYS, ARGV, return value and cost in
//! `lua/filesync/`.

crate::library::library! {
    "sluice_filesync" from "../../../../lua/filesync/" {
        shared [
            "../need", "../log", "common", "record", "tree", "rules", "judge", "perform", "outcome",
            "device", "cursor",
        ],
        files [
            "apply", "changes", "conflicts", "cursor_move", "cursor_status", "device_beat",
            "device_delete", "device_list", "device_register", "device_sleep", "device_update",
            "feed", "preference_list", "preference_put", "resolve", "resolve_path", "share_create",
            "share_delete", "share_grant", "share_read", "share_set", "snapshot", "sweep",
            "trim",
        ],
        apply = "filesync_apply",
        changes = "filesync_changes",
        conflicts = "filesync_conflicts",
        cursor_move = "filesync_cursor_move",
        cursor_status = "filesync_cursor_status",
        device_beat = "filesync_device_beat",
        device_delete = "filesync_device_delete",
        device_list = "filesync_device_list",
        device_register = "filesync_device_register",
        device_sleep = "filesync_device_sleep",
        device_update = "filesync_device_update",
        feed = "filesync_feed",
        preference_list = "filesync_preference_list",
        preference_put = "filesync_preference_put",
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
