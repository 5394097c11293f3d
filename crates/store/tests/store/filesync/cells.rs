//! Every cell of the table of conflicts.

use chrono::DateTime;
use serde_json::{Value, json};
use sluice_store::filesync::{Batch, Strategy};

use super::support::{Store, caller, change, delete, file, folder, place};

const HOUR: i64 = 60 * 60 * 1_000;

/// What the server has before, what device `a` does then, and what device `b` sends who did not know
/// of it; versions are written `<content>@<file>`.
struct Row {
    before: Vec<Value>,
    server: Vec<Value>,
    client: Value,
    /// By LAST_WRITER_WINS later and else, KEEP_BOTH, SERVER_WINS, CLIENT_WINS, MANUAL: the outcome
    /// and the paths and contents after it, with spaces between.
    cells: [(&'static str, &'static str); 6],
}

/// The clock, in ms since 1970.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_millis() as i64
}

fn time(ago: i64) -> String {
    let time = DateTime::from_timestamp_millis(now() - ago).unwrap();
    time.to_rfc3339()
}

fn edit(id: &str, version: &str) -> Value {
    json!({"resource_type": "file", "change_type": "updated", "resource_id": id, "version_id": version})
}

/// Sends a change that was made so long ago, with its versions uploaded.
async fn send(
    store: &Store,
    share: &str,
    device: &str,
    strategy: Strategy,
    base: u64,
    mut sent: Value,
    ago: i64,
) -> Value {
    if let Some(version) = sent.get("version_id").and_then(Value::as_str) {
        let (content, file) = version.split_once('@').unwrap();
        sent["version_id"] = json!(store.version(share, file, content));
    }
    sent["metadata"] = json!({"modified_at": time(ago)});
    let batch = Batch {
        device: device.into(),
        share: share.into(),
        strategy: Some(strategy),
        base_cursor: Some(base),
        sent_at: Some(now()),
        is_confirmed: false,
        changes: vec![change(sent)],
    };
    let answer = store.files.apply(&caller("usr_1"), &batch).await.unwrap();
    let item = answer.applied.first().or(answer.conflicts.first()).unwrap();
    serde_json::from_str(item.get()).unwrap()
}

/// The paths of the tree, of files with the content behind `=`.
async fn tree(store: &Store, share: &str) -> String {
    let mut nodes: Vec<_> = store
        .tree(share)
        .await
        .iter()
        .map(|node| {
            let path = node["path"].as_str().unwrap();
            let at = path.find(" (conflicted copy, ");
            let path = match at {
                // Without the device and the day.
                Some(at) => format!(
                    "{}~{}",
                    &path[..at],
                    &path[at..].rsplit(')').next().unwrap()
                ),
                None => path.to_owned(),
            };
            match node["metadata"]["sha256"].as_str() {
                Some(hash) => format!("{path}={}", hash.trim_start_matches("hash-of-")),
                None => path,
            }
        })
        .collect();
    nodes.sort();
    nodes.join(" ")
}

async fn check(row: Row) {
    let store = Store::start();
    let cases = [
        (Strategy::LastWriterWins, 0),
        (Strategy::LastWriterWins, 2 * HOUR),
        (Strategy::KeepBoth, 0),
        (Strategy::ServerWins, 0),
        (Strategy::ClientWins, 0),
        (Strategy::Manual, 0),
    ];
    for ((strategy, ago), (outcome, after)) in cases.into_iter().zip(row.cells) {
        let share = store.share().await;
        for before in &row.before {
            let head = store.head(&share).await;
            send(
                &store,
                &share,
                "a",
                strategy,
                head,
                before.clone(),
                3 * HOUR,
            )
            .await;
        }
        let base = store.head(&share).await;
        for server in &row.server {
            let head = store.head(&share).await;
            let item = send(&store, &share, "a", strategy, head, server.clone(), HOUR).await;
            assert!(item["position"].is_number(), "{item}");
        }
        let item = send(&store, &share, "b", strategy, base, row.client.clone(), ago).await;
        let case = format!("{strategy:?} {ago}: {item}");
        assert_eq!(item["outcome"], outcome, "{case}");
        assert_eq!(tree(&store, &share).await, after, "{case}");
        store.assert_sound(&share).await;
        let conflicts = store
            .files
            .conflicts(&caller("usr_1"), &share, true)
            .await
            .unwrap();
        let is_stored = matches!(outcome, "forced" | "dropped" | "held");
        assert_eq!(conflicts.len(), usize::from(is_stored), "{case}");
        if is_stored {
            let stored: Value = serde_json::from_str(conflicts[0].json.get()).unwrap();
            assert_eq!(
                stored["resolution"].is_null(),
                outcome == "held",
                "{stored}"
            );
            assert_eq!(item["conflict_id"], stored["id"], "{case}");
        }
        assert_eq!(
            item["position"].is_null(),
            matches!(outcome, "noop" | "dropped" | "held"),
            "{case}"
        );
    }
}

#[tokio::test]
async fn row_1_update_and_update_to_the_same_content() {
    check(Row {
        before: vec![file("f", "/f", "one@f")],
        server: vec![edit("f", "two@f")],
        client: edit("f", "two@f"),
        cells: [("noop", "/f=two"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_2_update_and_update() {
    check(Row {
        before: vec![file("f", "/f.txt", "one@f")],
        server: vec![edit("f", "two@f")],
        client: edit("f", "three@f"),
        cells: [
            ("forced", "/f.txt=three"),
            ("dropped", "/f.txt=two"),
            ("copied", "/f.txt=two /f~.txt=three"),
            ("dropped", "/f.txt=two"),
            ("forced", "/f.txt=three"),
            ("held", "/f.txt=two"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_3_update_and_delete_of_the_file() {
    check(Row {
        before: vec![file("f", "/f", "one@f")],
        server: vec![delete("file", "f")],
        client: edit("f", "two@f"),
        cells: [
            ("revived", "/f=two"),
            ("dropped", ""),
            ("revived", "/f=two"),
            ("dropped", ""),
            ("revived", "/f=two"),
            ("held", ""),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_3_update_and_delete_of_a_folder_above_brings_exactly_that_chain_back() {
    check(Row {
        before: vec![
            folder("d", "/d"),
            folder("e", "/d/e"),
            file("f", "/d/e/f", "one@f"),
            file("g", "/d/e/g", "one@g"),
        ],
        server: vec![delete("folder", "d")],
        client: edit("f", "two@f"),
        cells: [
            ("revived", "/d /d/e /d/e/f=two"),
            ("dropped", ""),
            ("revived", "/d /d/e /d/e/f=two"),
            ("dropped", ""),
            ("revived", "/d /d/e /d/e/f=two"),
            ("held", ""),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_4_update_and_move() {
    for server in [
        place("file", "f", "/d/f", "/g"),
        place("folder", "d", "/d", "/e"),
    ] {
        let path = if server["resource_id"] == "f" {
            "/d /g=two"
        } else {
            "/e /e/f=two"
        };
        check(Row {
            before: vec![folder("d", "/d"), file("f", "/d/f", "one@f")],
            server: vec![server],
            client: edit("f", "two@f"),
            cells: [("merged", path); 6],
        })
        .await;
    }
}

#[tokio::test]
async fn row_5_update_and_delete_where_another_node_was_created() {
    check(Row {
        before: vec![file("f", "/f", "one@f")],
        server: vec![delete("file", "f"), file("g", "/f", "new@g")],
        client: edit("f", "two@f"),
        cells: [
            ("revived", "/f=new /f~=two"),
            ("dropped", "/f=new"),
            ("revived", "/f=new /f~=two"),
            ("dropped", "/f=new"),
            ("revived", "/f=two /f~=new"),
            ("held", "/f=new"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_6_delete_and_update() {
    check(Row {
        before: vec![file("f", "/f", "one@f")],
        server: vec![edit("f", "two@f")],
        client: delete("file", "f"),
        cells: [
            ("forced", ""),
            ("dropped", "/f=two"),
            ("dropped", "/f=two"),
            ("dropped", "/f=two"),
            ("forced", ""),
            ("held", "/f=two"),
        ],
    })
    .await;
}

#[tokio::test]
async fn rows_7_and_9_delete_and_delete() {
    for server in [
        vec![delete("file", "f")],
        vec![delete("file", "f"), file("g", "/f", "new@g")],
    ] {
        let after = if server.len() == 1 { "" } else { "/f=new" };
        check(Row {
            before: vec![file("f", "/f", "one@f")],
            server,
            client: delete("file", "f"),
            cells: [("noop", after); 6],
        })
        .await;
    }
}

#[tokio::test]
async fn rows_8_and_25_delete_and_move() {
    for (kind, before, content) in [
        ("file", file("f", "/f", "one@f"), "=one"),
        ("folder", folder("f", "/f"), ""),
    ] {
        let after: &'static str = format!("/g{content}").leak();
        check(Row {
            before: vec![before],
            server: vec![place(kind, "f", "/f", "/g")],
            client: delete(kind, "f"),
            cells: [
                ("forced", ""),
                ("dropped", after),
                ("dropped", after),
                ("dropped", after),
                ("forced", ""),
                ("held", after),
            ],
        })
        .await;
    }
}

#[tokio::test]
async fn rows_10_and_26_move_and_change_of_what_is_moved() {
    check(Row {
        before: vec![file("f", "/f", "one@f")],
        server: vec![edit("f", "two@f")],
        client: place("file", "f", "/f", "/g"),
        cells: [("merged", "/g=two"); 6],
    })
    .await;
    check(Row {
        before: vec![folder("d", "/d")],
        server: vec![file("f", "/d/f", "one@f")],
        client: place("folder", "d", "/d", "/e"),
        cells: [("merged", "/e /e/f=one"); 6],
    })
    .await;
}

#[tokio::test]
async fn rows_11_and_27_move_and_delete() {
    check(Row {
        before: vec![folder("d", "/d"), file("f", "/f", "one@f")],
        server: vec![delete("file", "f")],
        client: place("file", "f", "/f", "/d/g"),
        cells: [
            ("revived", "/d /d/g=one"),
            ("dropped", "/d"),
            ("revived", "/d /d/g=one"),
            ("dropped", "/d"),
            ("revived", "/d /d/g=one"),
            ("held", "/d"),
        ],
    })
    .await;
    check(Row {
        before: vec![folder("d", "/d"), folder("e", "/d/e")],
        server: vec![delete("folder", "d")],
        client: place("folder", "d", "/d", "/g"),
        cells: [
            ("revived", "/g"),
            ("dropped", ""),
            ("revived", "/g"),
            ("dropped", ""),
            ("revived", "/g"),
            ("held", ""),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_12_move_and_the_same_move() {
    check(Row {
        before: vec![folder("d", "/d"), file("f", "/f", "one@f")],
        server: vec![place("file", "f", "/f", "/d/g")],
        client: place("file", "f", "/f", "/d/g"),
        cells: [("noop", "/d /d/g=one"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_13_rename_and_move_to_another_folder() {
    let before = vec![folder("d", "/d"), file("f", "/f", "one@f")];
    check(Row {
        before: before.clone(),
        server: vec![place("file", "f", "/f", "/d/f")],
        client: place("file", "f", "/f", "/g"),
        cells: [("merged", "/d /d/g=one"); 6],
    })
    .await;
    check(Row {
        before,
        server: vec![place("file", "f", "/f", "/g")],
        client: place("file", "f", "/f", "/d/f"),
        cells: [("merged", "/d /d/g=one"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_14_move_and_move_elsewhere() {
    check(Row {
        before: vec![file("f", "/f", "one@f")],
        server: vec![place("file", "f", "/f", "/g")],
        client: place("file", "f", "/f", "/h"),
        cells: [
            ("forced", "/h=one"),
            ("dropped", "/g=one"),
            ("dropped", "/g=one"),
            ("dropped", "/g=one"),
            ("forced", "/h=one"),
            ("held", "/g=one"),
        ],
    })
    .await;
    check(Row {
        before: vec![
            folder("d", "/d"),
            folder("e", "/e"),
            file("f", "/f", "one@f"),
        ],
        server: vec![place("file", "f", "/f", "/d/f")],
        client: place("file", "f", "/f", "/e/f"),
        cells: [
            ("forced", "/d /e /e/f=one"),
            ("dropped", "/d /d/f=one /e"),
            ("dropped", "/d /d/f=one /e"),
            ("dropped", "/d /d/f=one /e"),
            ("forced", "/d /e /e/f=one"),
            ("held", "/d /d/f=one /e"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_15_move_or_create_where_another_node_took_the_name() {
    let before = vec![file("f", "/f", "one@f"), file("o", "/o", "other@o")];
    for (client, rest, content) in [
        (place("file", "f", "/f", "/g"), "", "one"),
        (file("n", "/g", "new@n"), "/f=one ", "new"),
    ] {
        let both: &'static str = format!("{rest}/g=other /g~={content}").leak();
        let server: &'static str = match rest {
            "" => "/f=one /g=other",
            _ => "/f=one /g=other",
        };
        let mine: &'static str = format!("{rest}/g={content} /g~=other").leak();
        check(Row {
            before: before.clone(),
            server: vec![place("file", "o", "/o", "/g")],
            client,
            cells: [
                ("suffixed", both),
                ("suffixed", both),
                ("suffixed", both),
                ("dropped", server),
                ("moved_aside", mine),
                ("held", server),
            ],
        })
        .await;
    }
}

#[tokio::test]
async fn row_16_move_or_create_into_a_folder_that_was_deleted() {
    check(Row {
        before: vec![folder("d", "/d"), file("o", "/d/o", "old@o")],
        server: vec![delete("folder", "d")],
        client: file("f", "/d/f", "one@f"),
        cells: [
            ("revived", "/d /d/f=one"),
            ("dropped", ""),
            ("revived", "/d /d/f=one"),
            ("dropped", ""),
            ("revived", "/d /d/f=one"),
            ("held", ""),
        ],
    })
    .await;
    check(Row {
        before: vec![
            folder("d", "/d"),
            folder("e", "/d/e"),
            file("f", "/f", "one@f"),
        ],
        server: vec![delete("folder", "d")],
        client: place("file", "f", "/f", "/d/e/f"),
        cells: [
            ("revived", "/d /d/e /d/e/f=one"),
            ("dropped", "/f=one"),
            ("revived", "/d /d/e /d/e/f=one"),
            ("dropped", "/f=one"),
            ("revived", "/d /d/e /d/e/f=one"),
            ("held", "/f=one"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_17_create_in_a_folder_that_was_moved() {
    let mut client = file("f", "/d/f", "one@f");
    client["parent_id"] = json!("d");
    check(Row {
        before: vec![folder("d", "/d")],
        server: vec![place("folder", "d", "/d", "/e")],
        client,
        cells: [("merged", "/e /e/f=one"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_18_create_and_create_of_the_same_content() {
    check(Row {
        before: vec![],
        server: vec![file("s", "/f", "one@s")],
        client: file("f", "/F", "one@f"),
        cells: [("noop", "/f=one"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_19_create_and_create() {
    check(Row {
        before: vec![],
        server: vec![file("s", "/f.txt", "one@s")],
        client: file("f", "/f.txt", "two@f"),
        cells: [
            ("forced", "/f.txt=two"),
            ("dropped", "/f.txt=one"),
            ("copied", "/f.txt=one /f~.txt=two"),
            ("dropped", "/f.txt=one"),
            ("forced", "/f.txt=two"),
            ("held", "/f.txt=one"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_20_create_of_a_file_and_of_a_folder() {
    check(Row {
        before: vec![],
        server: vec![folder("s", "/f"), file("i", "/f/inside", "in@i")],
        client: file("f", "/f", "two@f"),
        cells: [
            ("suffixed", "/f /f/inside=in /f~=two"),
            ("suffixed", "/f /f/inside=in /f~=two"),
            ("suffixed", "/f /f/inside=in /f~=two"),
            ("dropped", "/f /f/inside=in"),
            ("moved_aside", "/f=two /f~ /f~/inside=in"),
            ("held", "/f /f/inside=in"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_21_rename_of_a_folder_onto_a_name_that_another_took() {
    check(Row {
        before: vec![folder("d", "/d")],
        server: vec![folder("s", "/e")],
        client: place("folder", "d", "/d", "/e"),
        cells: [
            ("suffixed", "/e /e~"),
            ("suffixed", "/e /e~"),
            ("suffixed", "/e /e~"),
            ("dropped", "/d /e"),
            ("moved_aside", "/e /e~"),
            ("held", "/d /e"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_22_create_and_create_of_a_folder() {
    check(Row {
        before: vec![],
        server: vec![folder("s", "/d")],
        client: folder("c", "/D"),
        cells: [("noop", "/d"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_23_delete_of_a_folder_and_a_change_in_it() {
    let before = vec![
        folder("d", "/d"),
        folder("e", "/d/e"),
        file("f", "/d/e/f", "one@f"),
    ];
    for (server, after) in [
        (
            file("n", "/d/e/n", "new@n"),
            "/d /d/e /d/e/f=one /d/e/n=new",
        ),
        (edit("f", "two@f"), "/d /d/e /d/e/f=two"),
    ] {
        check(Row {
            before: before.clone(),
            server: vec![server],
            client: delete("folder", "d"),
            cells: [
                ("forced", ""),
                ("dropped", after),
                ("dropped", after),
                ("dropped", after),
                ("forced", ""),
                ("held", after),
            ],
        })
        .await;
    }
}

#[tokio::test]
async fn row_24_delete_of_a_folder_and_a_deletion_in_it() {
    check(Row {
        before: vec![
            folder("d", "/d"),
            file("f", "/d/f", "one@f"),
            file("g", "/d/g", "one@g"),
        ],
        server: vec![delete("file", "f"), place("file", "g", "/d/g", "/g")],
        client: delete("folder", "d"),
        cells: [("applied", "/g=one"); 6],
    })
    .await;
}

#[tokio::test]
async fn row_28_two_folders_are_moved_into_each_other() {
    check(Row {
        before: vec![folder("x", "/a"), folder("y", "/b")],
        server: vec![place("folder", "y", "/b", "/a/b")],
        client: json!({"resource_type": "folder", "change_type": "moved", "resource_id": "x", "parent_id": "y", "new_path": "/b/a"}),
        cells: [
            ("dropped", "/a /a/b"),
            ("dropped", "/a /a/b"),
            ("dropped", "/a /a/b"),
            ("dropped", "/a /a/b"),
            ("forced", "/b /b/a"),
            ("held", "/a /a/b"),
        ],
    })
    .await;
}

#[tokio::test]
async fn row_29_metadata_of_a_folder_and_its_deletion() {
    check(Row {
        before: vec![folder("d", "/d")],
        server: vec![delete("folder", "d")],
        client: json!({"resource_type": "folder", "change_type": "updated", "resource_id": "d"}),
        cells: [("noop", ""); 6],
    })
    .await;
}
