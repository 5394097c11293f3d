//! Which tables there are, and where their documents are.
//!
//! A table's documents live in a *tablet*. Clearing or replacing a table gives its name a new
//! tablet: the old one is dropped as a whole, and snapshots from before still show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::RequestError;
use super::id::FIRST_TABLE_NUMBER;
use super::names::FieldOrigins;
use super::shape::ObjectShape;

/// The component that applications live in, and the only one that the streaming import writes to.
pub(super) const ROOT: &str = "";

/// The number a tablet has inside the database.
pub(super) type TabletId = u32;

/// The documents of one table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tablet {
    pub id: TabletId,
    /// The random id it is known by outside. Snapshots visit tablets in this order.
    pub public_id: u128,
    pub component: String,
    pub name: String,
    /// The table number in its documents' ids. A table keeps it when its tablet changes.
    pub number: u32,
    /// When it became the table's tablet (ns since the epoch).
    pub created: i64,
    /// When it ceased to be (ns since the epoch).
    pub dropped: Option<i64>,
    /// The name of the stream that is imported into it, if that had to be repaired to be the
    /// table's.
    #[serde(default)]
    pub stream: Option<String>,
    /// What the repaired names of its fields were.
    #[serde(default)]
    pub origins: FieldOrigins,
    pub indexes: Vec<Index>,
    pub shape: ObjectShape,
}

impl Tablet {
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    fn visible_at(&self, snapshot: i64) -> bool {
        self.created <= snapshot && self.dropped.is_none_or(|dropped| dropped > snapshot)
    }
}

/// An index on fields of a tablet's documents; every entry ends with the document's creation time
/// and id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    /// The number its entries start with.
    pub id: u32,
    pub name: String,
    pub fields: Vec<FieldPath>,
    /// The last document (by internal id) that is in it while it is being filled. `None`: all are.
    #[serde(default)]
    pub filled_to: Option<u128>,
}

impl Index {
    pub fn is_ready(&self) -> bool {
        self.filled_to.is_none()
    }

    /// Error: 400 `IndexBackfillingError` as long as documents are missing in it.
    pub fn check_ready(&self, table: &str) -> Result<(), RequestError> {
        if self.is_ready() {
            return Ok(());
        }
        Err(RequestError::bad_request(
            "IndexBackfillingError",
            format!(
                "The index {:?} of the table {table:?} is still being built.",
                self.name
            ),
        ))
    }
}

/// The names that lead to a field, from the document inwards.
pub(super) type FieldPath = Vec<String>;

/// The index that the streaming import replaces documents by.
pub(super) const PRIMARY_KEY: &str = "_by_airbyte_primary_key";
/// `files` by `["user"]`, newest last.
pub(super) const FILES_BY_USER: &str = "by_user";
/// `files` by `["user", "id"]`.
pub(super) const FILES_BY_USER_ID: &str = "by_user_id";
/// The table that the built-in functions read.
pub(super) const FILES: &str = "files";

/// The indexes a table of this name has from the start.
pub(super) fn built_in_indexes(
    component: &str,
    table: &str,
) -> Vec<(&'static str, Vec<FieldPath>)> {
    if component != ROOT || table != FILES {
        return Vec::new();
    }
    let (user, id) = (vec!["user".to_owned()], vec!["id".to_owned()]);
    vec![
        (FILES_BY_USER, vec![user.clone()]),
        (FILES_BY_USER_ID, vec![user, id]),
    ]
}

/// All tablets, the dropped ones included as long as their documents are kept. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    pub tablets: BTreeMap<TabletId, Arc<Tablet>>,
    names: BTreeMap<(String, String), TabletId>,
    /// Indexes that are gone but for their entries.
    pub dropped_indexes: BTreeSet<u32>,
}

impl Catalog {
    pub fn new(
        tablets: impl IntoIterator<Item = Tablet>,
        dropped_indexes: BTreeSet<u32>,
    ) -> Catalog {
        let mut catalog = Catalog {
            dropped_indexes,
            ..Catalog::default()
        };
        for tablet in tablets {
            catalog.put(tablet);
        }
        catalog
    }

    /// Adds a tablet or replaces what is known of it.
    pub fn put(&mut self, tablet: Tablet) {
        if tablet.dropped.is_none() {
            let name = (tablet.component.clone(), tablet.name.clone());
            self.names.insert(name, tablet.id);
        }
        self.tablets.insert(tablet.id, Arc::new(tablet));
    }

    /// The tablet a table has now.
    pub fn table(&self, component: &str, name: &str) -> Option<&Arc<Tablet>> {
        let id = self.names.get(&(component.to_owned(), name.to_owned()))?;
        self.tablets.get(id)
    }

    /// For changing a tablet in place.
    pub fn tablet_mut(&mut self, id: TabletId) -> Option<&mut Tablet> {
        self.tablets.get_mut(&id).map(Arc::make_mut)
    }

    /// The tablets of all tables as they are now.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Tablet>> {
        self.names.values().filter_map(|id| self.tablets.get(id))
    }

    /// The tablets of a component's tables as they are now.
    pub fn live_in<'a>(&'a self, component: &'a str) -> impl Iterator<Item = &'a Arc<Tablet>> {
        let start = (component.to_owned(), String::new());
        let of_component = self
            .names
            .range(start..)
            .take_while(move |((of, _), _)| of == component);
        of_component.filter_map(|(_, id)| self.tablets.get(id))
    }

    /// The paths of all components: the root, those with tables, and those that these are nested
    /// in.
    pub fn components(&self) -> BTreeSet<&str> {
        let mut paths = BTreeSet::from([ROOT]);
        for (path, _) in self.names.keys() {
            paths.insert(path);
            paths.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
        }
        paths
    }

    pub fn table_count(&self) -> usize {
        self.names.len()
    }

    /// The tablets that tables had at `snapshot`, in the order that snapshots visit them.
    pub fn visible_at(&self, snapshot: i64) -> Vec<&Arc<Tablet>> {
        let mut tablets: Vec<_> = self
            .tablets
            .values()
            .filter(|tablet| tablet.visible_at(snapshot))
            .collect();
        tablets.sort_unstable_by_key(|tablet| tablet.public_id);
        tablets
    }

    /// The table of a component that ids with this number are of.
    pub fn table_name<'a>(&'a self, component: &'a str, number: u32) -> Option<&'a str> {
        self.live_in(component)
            .find(|tablet| tablet.number == number)
            .map(|tablet| tablet.name.as_str())
    }

    pub fn next_tablet_id(&self) -> TabletId {
        self.tablets.keys().next_back().map_or(1, |id| id + 1)
    }

    /// A number that no tablet has. An import may have given a table any, the largest included.
    pub fn next_table_number(&self) -> u32 {
        let tablets = self.tablets.values();
        let taken: BTreeSet<u32> = tablets.map(|tablet| tablet.number).collect();
        (FIRST_TABLE_NUMBER..)
            .find(|number| !taken.contains(number))
            .unwrap_or(FIRST_TABLE_NUMBER)
    }

    pub fn next_index_id(&self) -> u32 {
        let indexes = self.tablets.values().flat_map(|tablet| &tablet.indexes);
        let known = indexes.map(|index| index.id).max();
        let dropped = self.dropped_indexes.last().copied();
        known.max(dropped).map_or(1, |id| id + 1)
    }
}
