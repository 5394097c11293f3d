//! The functions of the tail; each is headed by its KEYS, ARGV, return value and cost in
//! `lua/tail/`.

crate::library::library! {
    "sluice_tail" from "../../../../lua/tail/" {
        shared ["../need", "common"],
        files [
            "claim", "extend", "fence", "look", "name", "release", "save", "settle", "sweep",
            "unname",
        ],
        claim = "tail_claim",
        extend = "tail_extend",
        fence = "tail_fence",
        look = "tail_look",
        name = "tail_name",
        release = "tail_release",
        save = "tail_save",
        settle = "tail_settle",
        sweep = "tail_sweep",
        unname = "tail_unname",
    }
}
