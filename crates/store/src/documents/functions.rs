//! The functions of documents; each is headed by its KEYS, ARGV, return value and cost in
//! `lua/documents/`.

crate::library::library! {
    "sluice_documents" from "../../../../lua/documents/" {
        shared ["../need", "../log", "made"],
        files [
            "accept", "announce", "changes", "forget", "mutate", "read", "release", "write",
        ],
        accept = "document_accept",
        announce = "document_announce",
        changes = "document_changes",
        forget = "document_forget",
        mutate = "document_mutate",
        read = "document_read",
        release = "document_release",
        write = "document_write",
    }
}
