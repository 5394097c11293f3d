//! The functions of the metadata cache; each is headed by its KEYS, ARGV, return value and cost in
//! `lua/cache/`.

crate::library::library! {
    "sluice_cache" from "../../../../lua/cache/" {
        shared ["readable", "rivals", "staging"],
        files [
            "amend", "extend_fetch", "fill", "has_any", "invalidate", "list", "look_many", "parts",
            "read", "record", "stage_abandon", "stage_amend", "stage_commit", "stage_open",
            "stage_push",
        ],
        amend = "amend",
        extend_fetch = "extend_fetch",
        fill = "fill",
        has_any = "has_any",
        invalidate = "invalidate",
        list = "list",
        look = "read",
        look_many = "read_many",
        parts = "sets_in_parts",
        read = "read",
        record = "record",
        stage_abandon = "stage_abandon",
        stage_amend = "stage_amend",
        stage_commit = "stage_commit",
        stage_open = "stage_open",
        stage_push = "stage_push",
    }
}
