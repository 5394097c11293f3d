//! The functions of the board's sessions; each is headed by its KEYS, ARGV, return value and cost in
//! `lua/board/`.

crate::library::library! {
    "sluice_board" from "../../../../lua/board/" {
        shared [],
        files [
            "open",
        ],
        open = "board_open",
    }
}
