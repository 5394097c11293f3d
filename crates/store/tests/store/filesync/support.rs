//! One Valkey with a share, and devices that change it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use redis::Commands as _;
use serde_json::{Value, json};
use sluice_store::filesync::{
    Applied, Batch, Caller, Change, Device, Filesync, FilesyncError, NewDevice, NewShare, Platform,
    ShareSettings, Strategy,
};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;

pub const STRATEGIES: [Strategy; 5] = [
    Strategy::LastWriterWins,
    Strategy::KeepBoth,
    Strategy::ServerWins,
    Strategy::ClientWins,
    Strategy::Manual,
];

pub struct Store {
    pub server: TestValkey,
    pub files: Filesync,
    versions: Cell<u64>,
}

pub fn caller(user: &str) -> Caller {
    Caller {
        tenant: "acme".into(),
        user: user.into(),
        groups: Vec::new(),
        is_admin: false,
    }
}

pub fn laptop() -> NewDevice {
    NewDevice {
        name: "laptop".into(),
        platform: Platform::Linux,
        client_version: "1.0".into(),
    }
}

pub fn change(json: Value) -> Change {
    serde_json::from_value(json).unwrap()
}

impl Store {
    pub fn start() -> Store {
        let server = TestValkey::start();
        let files = Filesync::new(&Valkey::at(&server.url()).unwrap());
        Store {
            server,
            files,
            versions: Cell::new(0),
        }
    }

    /// A share of `usr_1` with the devices `a`, `b` and `c`.
    pub async fn share(&self) -> String {
        for device in ["a", "b", "c"] {
            self.device("usr_1", device);
        }
        let share = NewShare {
            name: "Plans".into(),
            settings: ShareSettings::default(),
        };
        self.files
            .create_share(&caller("usr_1"), &share)
            .await
            .unwrap()
            .id
    }

    pub fn device(&self, user: &str, device: &str) {
        let mut connection = self.server.connection();
        let seq: u64 = redis::cmd("HINCRBY")
            .arg("sf1:{acme}:tenant")
            .arg("devices")
            .arg(1)
            .query(&mut connection)
            .unwrap();
        let () = redis::cmd("HSET")
            .arg(format!("sf1:{{acme}}:user:{user}:device:{device}"))
            .arg(("seq", seq))
            .arg(("active", "1"))
            .arg(("name", device))
            .query(&mut connection)
            .unwrap();
    }

    pub async fn register(&self, caller: &Caller, id: &str) -> (Device, bool) {
        let said = laptop();
        let registered = self.files.register_device(caller.device(id), &said);
        registered.await.unwrap()
    }

    pub async fn registered(&self, caller: &Caller, id: &str) -> Option<Device> {
        let devices = self.files.devices(&caller.tenant, &caller.user).await;
        devices.unwrap().into_iter().find(|device| device.id == id)
    }

    /// A share of a user without devices.
    pub async fn share_of(&self, caller: &Caller) -> String {
        let share = NewShare {
            name: "s".into(),
            settings: ShareSettings::default(),
        };
        self.files.create_share(caller, &share).await.unwrap().id
    }

    /// A field of a hash in the tenant's slot.
    pub fn field(&self, key: &str, field: &str) -> Option<String> {
        let key = format!("sf1:{{acme}}:{key}");
        self.server.connection().hget(key, field).unwrap()
    }

    pub fn set_field(&self, key: &str, field: &str, value: &str) {
        let key = format!("sf1:{{acme}}:{key}");
        let _: u64 = self.server.connection().hset(key, field, value).unwrap();
    }

    /// A version of a file with these bytes that `usr_1` has uploaded.
    pub fn version(&self, share: &str, file: &str, bytes: &str) -> String {
        let number = self.versions.get() + 1;
        self.versions.set(number);
        let id = format!("ver_{number}");
        let key = format!("sf1:{{acme}}:share:{share}:version:{id}");
        let mut connection = self.server.connection();
        let () = redis::cmd("HINCRBY")
            .arg(format!("sf1:{{acme}}:share:{share}"))
            .arg(("used", bytes.len()))
            .query(&mut connection)
            .unwrap();
        let () = redis::cmd("HSET")
            .arg(key)
            .arg(("file", file))
            .arg(("size", bytes.len()))
            .arg(("sha256", format!("hash-of-{bytes}")))
            .arg(("user", "usr_1"))
            .arg(("state", "pending"))
            .query(&mut connection)
            .unwrap();
        id
    }

    pub async fn send(
        &self,
        share: &str,
        device: &str,
        strategy: Option<Strategy>,
        base: u64,
        changes: Vec<Value>,
    ) -> Result<Applied, FilesyncError> {
        let batch = Batch {
            device: device.into(),
            share: share.into(),
            strategy,
            base_cursor: Some(base),
            sent_at: None,
            is_confirmed: false,
            changes: changes.into_iter().map(change).collect(),
        };
        self.files.apply(&caller("usr_1"), &batch).await
    }

    /// Sends one change, and returns its item.
    pub async fn one(
        &self,
        share: &str,
        device: &str,
        strategy: Option<Strategy>,
        base: u64,
        change: Value,
    ) -> Value {
        let answer = self.send(share, device, strategy, base, vec![change]).await;
        let Applied {
            applied, conflicts, ..
        } = answer.unwrap();
        let items: Vec<_> = applied.iter().chain(&conflicts).collect();
        assert_eq!(items.len(), 1);
        serde_json::from_str(items[0].get()).unwrap()
    }

    /// Makes the folders `d0`, `d1` and so on in a share's root.
    pub async fn folders(&self, share: &str, count: usize) {
        for number in 0..count {
            let id = format!("d{number}");
            let folder = folder(&id, &format!("/{id}"));
            self.one(share, "a", None, 0, folder).await;
        }
    }

    pub async fn head(&self, share: &str) -> u64 {
        self.files
            .share(&caller("usr_1"), share)
            .await
            .unwrap()
            .head
    }

    /// All changes of a share.
    pub async fn log(&self, share: &str) -> Vec<Value> {
        let owner = caller("usr_1");
        let page = self.files.changes(&owner, share, Some(0), None, 100_000);
        let page = page.await.unwrap();
        let changes = page.changes.iter();
        changes
            .map(|it| serde_json::from_str(it.get()).unwrap())
            .collect()
    }

    /// All live nodes of a share.
    pub async fn tree(&self, share: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .files
                .snapshot(&caller("usr_1"), share, after.as_deref(), 1_000, None)
                .await
                .unwrap();
            for item in &page.items {
                items.push(serde_json::from_str(item.get()).unwrap());
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return items,
            }
        }
    }

    /// Whether everything holds that always does: positions are dense, ids of entries differ, the log
    /// leads to the tree, names in a folder differ, each node is in a folder, and folders count
    /// what is in them.
    pub async fn assert_sound(&self, share: &str) {
        let log = self.log(share).await;
        for (at, entry) in log.iter().enumerate() {
            assert_eq!(entry["position"], at + 1, "{entry}");
        }
        let ids: BTreeSet<_> = log.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), log.len());
        let tree = self.tree(share).await;
        let live = tree.iter().map(|node| {
            let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
            let parent = text("parent_id");
            (text("id"), [parent, text("name"), text("version_id")])
        });
        let live: BTreeMap<_, _> = live.collect();
        assert_eq!(replay(&log), live, "{log:#?}");
        let names: BTreeSet<_> = live
            .values()
            .map(|[parent, name, _]| (parent, name.to_lowercase()))
            .collect();
        assert_eq!(names.len(), live.len(), "{live:?}");
        for node in tree.iter().filter(|it| it["resource_type"] == "folder") {
            let inside = live
                .keys()
                .filter(|id| is_in(&live, id, node["id"].as_str().unwrap()));
            assert_eq!(node["descendants"], inside.count(), "{node}");
        }
        for id in live.keys() {
            assert!(is_in(&live, id, "root"), "{id}");
        }
    }

    /// The paths of all live nodes of a share, in order.
    pub async fn paths(&self, share: &str) -> Vec<String> {
        let tree = self.tree(share).await;
        let mut paths: Vec<_> = tree
            .iter()
            .map(|node| node["path"].as_str().unwrap().to_owned())
            .collect();
        paths.sort();
        paths
    }
}

pub fn folder(id: &str, path: &str) -> Value {
    json!({"resource_type": "folder", "change_type": "created", "resource_id": id, "new_path": path})
}

pub fn file(id: &str, path: &str, version: &str) -> Value {
    json!({"resource_type": "file", "change_type": "created", "resource_id": id, "new_path": path, "version_id": version})
}

pub fn update(id: &str, version: &str, base: &str) -> Value {
    json!({"resource_type": "file", "change_type": "updated", "resource_id": id, "version_id": version, "base_version_id": base})
}

pub fn delete(kind: &str, id: &str) -> Value {
    json!({"resource_type": kind, "change_type": "deleted", "resource_id": id})
}

/// A move or rename, as a client that knows the old path tells it.
pub fn place(kind: &str, id: &str, old: &str, new: &str) -> Value {
    json!({"resource_type": kind, "change_type": "moved", "resource_id": id, "old_path": old, "new_path": new})
}

type Nodes = BTreeMap<String, [String; 3]>;

/// Whether a node is in a folder, at any depth.
fn is_in(nodes: &Nodes, id: &str, folder: &str) -> bool {
    let mut at = id;
    for _ in 0..100 {
        let Some([parent, ..]) = nodes.get(at) else {
            return false;
        };
        if parent == folder {
            return true;
        }
        at = parent;
    }
    panic!("{id} is in itself");
}

/// The nodes that a log leads to: parent, name and version by id.
fn replay(log: &[Value]) -> Nodes {
    let mut nodes = Nodes::new();
    for entry in log.iter().filter(|it| it["resource_type"] != "share") {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let id = text("resource_id");
        if entry["change_type"] == "deleted" {
            let gone = |it: &String| *it == id || nodes.contains_key(&id) && is_in(&nodes, it, &id);
            let gone: Vec<_> = nodes.keys().filter(|it| gone(it)).cloned().collect();
            gone.iter().for_each(|it| {
                nodes.remove(it);
            });
            continue;
        }
        let name = text("new_path");
        let name = name.rsplit('/').next().unwrap().to_owned();
        nodes.insert(id, [text("parent_id"), name, text("version_id")]);
    }
    nodes
}
