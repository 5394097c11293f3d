//! Random histories of several devices: what always holds, holds after each step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use sluice_store::filesync::Strategy as Resolution;

use super::support::{STRATEGIES, Store, caller, change};

const DEVICES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 5] = ["x", "X", "y", "z.txt", "straße"];

#[derive(Debug, Clone)]
enum Act {
    /// The device applies all there is.
    Pull,
    CreateFolder(Index, usize),
    CreateFile(Index, usize, u8),
    Update(Index, u8),
    Delete(Index),
    Move(Index, Index, usize),
    Rename(Index, usize),
    /// Sends its last change again.
    Again,
    /// Resolves an open conflict.
    Resolve(Index),
}

fn acts() -> impl Strategy<Value = Vec<(usize, Resolution, Act)>> {
    let name = || 0..NAMES.len();
    let act = prop_oneof![
        2 => Just(Act::Pull),
        3 => (any::<Index>(), name()).prop_map(|(folder, name)| Act::CreateFolder(folder, name)),
        4 => (any::<Index>(), name(), 0..3u8).prop_map(|(at, name, content)| Act::CreateFile(at, name, content)),
        3 => (any::<Index>(), 0..3u8).prop_map(|(node, content)| Act::Update(node, content)),
        2 => any::<Index>().prop_map(Act::Delete),
        4 => (any::<Index>(), any::<Index>(), name()).prop_map(|(node, to, name)| Act::Move(node, to, name)),
        2 => (any::<Index>(), name()).prop_map(|(node, name)| Act::Rename(node, name)),
        1 => Just(Act::Again),
        1 => any::<Index>().prop_map(Act::Resolve),
    ];
    let step = (0..DEVICES.len(), select(STRATEGIES.to_vec()), act);
    proptest::collection::vec(step, 1..40)
}

/// What a device last pulled.
#[derive(Default, Clone)]
struct Local {
    base: u64,
    /// By id: kind, path, and version.
    nodes: BTreeMap<String, (String, String, Option<String>)>,
    last: Option<(u64, Resolution, Value, Value)>,
}

struct World {
    store: Store,
    share: String,
    locals: [Local; 3],
    made: usize,
}

impl World {
    async fn pull(&mut self, device: usize) {
        let local = &mut self.locals[device];
        local.base = self.store.head(&self.share).await;
        local.nodes = self
            .store
            .tree(&self.share)
            .await
            .iter()
            .map(|node| {
                let text = |name: &str| node[name].as_str().map(str::to_owned);
                let kind = text("resource_type").unwrap();
                (
                    text("id").unwrap(),
                    (kind, text("path").unwrap(), text("version_id")),
                )
            })
            .collect();
    }

    /// Some node that the device knows, of a kind if one is given.
    fn node(&self, device: usize, index: &Index, kind: Option<&str>) -> Option<String> {
        let nodes = self.locals[device].nodes.iter();
        let nodes = nodes.filter(|(_, (of, ..))| kind.is_none_or(|kind| of == kind));
        let ids: Vec<&String> = nodes.map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| index.get(&ids).to_string())
    }

    fn path(&self, device: usize, id: &str) -> String {
        self.locals[device]
            .nodes
            .get(id)
            .map_or(String::new(), |node| node.1.clone())
    }

    /// The change that a device makes of what it knows.
    fn change(&mut self, device: usize, act: &Act) -> Option<Value> {
        self.made += 1;
        let id = format!("n{}", self.made);
        let folder = |index: &Index| self.node(device, index, Some("folder"));
        let in_folder = |index: &Index, name: usize| {
            let path = folder(index).map_or(String::new(), |id| self.path(device, &id));
            format!("{path}/{}", NAMES[name])
        };
        let version = |file: &str, content: u8| {
            self.store
                .version(&self.share, file, &format!("content {content}"))
        };
        let mut change = match act {
            Act::CreateFolder(at, name) => json!({
                "resource_type": "folder", "change_type": "created",
                "resource_id": id, "new_path": in_folder(at, *name),
            }),
            Act::CreateFile(at, name, content) => json!({
                "resource_type": "file", "change_type": "created", "resource_id": id,
                "new_path": in_folder(at, *name), "version_id": version(&id, *content),
            }),
            Act::Update(node, content) => {
                let node = self.node(device, node, Some("file"))?;
                json!({
                    "resource_type": "file", "change_type": "updated", "resource_id": node,
                    "version_id": version(&node, *content),
                    "base_version_id": self.locals[device].nodes[&node].2,
                })
            }
            Act::Delete(node) => {
                let node = self.node(device, node, None)?;
                json!({
                    "resource_type": self.locals[device].nodes[&node].0,
                    "change_type": "deleted", "resource_id": node,
                })
            }
            Act::Move(node, to, name) => {
                let node = self.node(device, node, None)?;
                json!({
                    "resource_type": self.locals[device].nodes[&node].0,
                    "change_type": "moved", "resource_id": node,
                    "parent_id": folder(to).unwrap_or("root".into()),
                    "old_path": self.path(device, &node), "new_path": in_folder(to, *name),
                })
            }
            Act::Rename(node, name) => {
                let node = self.node(device, node, None)?;
                let old = self.path(device, &node);
                let (folder, _) = old.rsplit_once('/').unwrap();
                json!({
                    "resource_type": self.locals[device].nodes[&node].0,
                    "change_type": "renamed", "resource_id": node,
                    "old_path": old, "new_path": format!("{folder}/{}", NAMES[*name]),
                })
            }
            Act::Pull | Act::Again | Act::Resolve(_) => return None,
        };
        change["id"] = json!(format!("c{}", self.made));
        // It can be read as a change.
        let _ = super::support::change(change.clone());
        Some(change)
    }

    async fn step(&mut self, device: usize, resolution: Resolution, act: &Act) {
        let name = DEVICES[device];
        match act {
            Act::Pull => self.pull(device).await,
            Act::Again => {
                let Some((base, resolution, sent, answer)) = self.locals[device].last.clone()
                else {
                    return;
                };
                let head = self.store.head(&self.share).await;
                let again = self
                    .store
                    .one(&self.share, name, Some(resolution), base, sent)
                    .await;
                assert_eq!(again, answer);
                assert_eq!(self.store.head(&self.share).await, head);
            }
            Act::Resolve(index) => self.resolve(index, resolution).await,
            _ => {
                let Some(sent) = self.change(device, act) else {
                    return;
                };
                let base = self.locals[device].base;
                let (store, share) = (&self.store, &self.share);
                let answer = store
                    .one(share, name, Some(resolution), base, sent.clone())
                    .await;
                let is_remembered = answer["outcome"] != "rejected";
                if is_remembered {
                    self.locals[device].last = Some((base, resolution, sent, answer));
                }
            }
        }
    }

    async fn resolve(&self, index: &Index, resolution: Resolution) {
        if resolution == Resolution::Manual {
            return;
        }
        let owner = caller("usr_1");
        let files = &self.store.files;
        let open = files.conflicts(&owner, &self.share, false).await.unwrap();
        if open.is_empty() {
            return;
        }
        let one: Value = serde_json::from_str(index.get(&open).json.get()).unwrap();
        let id = one["id"].as_str().unwrap();
        let done = files
            .resolve_conflict(&owner, &self.share, id, resolution)
            .await
            .unwrap();
        let again = files
            .resolve_conflict(&owner, &self.share, id, resolution)
            .await
            .unwrap();
        assert_eq!(done.json.get(), again.json.get());
        let left = files.conflicts(&owner, &self.share, false).await.unwrap();
        assert_eq!(left.len(), open.len() - 1);
    }

    /// Whether every content that a change brought is still there.
    async fn assert_contents_are_kept(&self) {
        let mut connection = self.store.server.connection();
        for entry in self.store.log(&self.share).await {
            let Some(version) = entry["version_id"].as_str() else {
                continue;
            };
            let key = format!("sf1:{{acme}}:share:{}:version:{version}", self.share);
            let state: String = redis::cmd("HGET")
                .arg(key)
                .arg("state")
                .query(&mut connection)
                .unwrap();
            assert_eq!(state, "kept", "{entry}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn after_each_step_of_a_history_everything_holds_that_always_does(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::start();
            let share = store.share().await;
            let mut world = World { store, share, locals: Default::default(), made: 0 };
            for (device, resolution, act) in &acts {
                world.step(*device, *resolution, act).await;
                world.store.assert_sound(&world.share).await;
            }
            world.assert_contents_are_kept().await;
        });
    }
}

#[test]
fn a_change_that_has_a_field_too_many_is_none() {
    let wrong = json!({"resource_type": "file", "change_type": "deleted", "resource": "x"});
    let read = serde_json::from_value::<sluice_store::filesync::Change>(wrong);
    assert!(read.is_err());
    let right = json!({"resource_type": "file", "change_type": "deleted", "resource_id": "x"});
    assert_eq!(change(right).resource_id.as_deref(), Some("x"));
}
