//! Which tables and columns an export asks for (section 6 of the wire contract).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::catalog::{ROOT, Tablet};
use super::error::RequestError;
use super::names::is_identifier;
use super::value::Object;

/// The tables and columns of an export.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Selection {
    #[serde(rename = "_other")]
    other: Inclusion,
    #[serde(flatten)]
    components: BTreeMap<String, ComponentSelection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Inclusion {
    #[serde(rename = "included", alias = "incl")]
    Included,
    #[serde(rename = "excluded", alias = "excl")]
    Excluded,
}

#[derive(Clone, Debug, Deserialize)]
enum Excluded {
    #[serde(rename = "excluded", alias = "excl")]
    Excluded,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum ComponentSelection {
    Tables {
        #[serde(rename = "_other")]
        other: Inclusion,
        #[serde(flatten)]
        tables: BTreeMap<String, TableSelection>,
    },
    Nothing(#[allow(dead_code, reason = "it stands for itself")] Excluded),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum TableSelection {
    Columns(Columns),
    Nothing(#[allow(dead_code, reason = "it stands for itself")] Excluded),
}

/// Which of a table's columns are exported.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Columns {
    #[serde(rename = "_other")]
    other: Inclusion,
    #[serde(flatten)]
    columns: BTreeMap<String, Inclusion>,
}

impl Columns {
    const ALL: Columns = Columns {
        other: Inclusion::Included,
        columns: BTreeMap::new(),
    };

    /// Whether every column is exported, so that documents go out as they are stored.
    pub fn is_all(&self) -> bool {
        self.other == Inclusion::Included
            && self
                .columns
                .values()
                .all(|column| *column == Inclusion::Included)
    }

    pub fn keep(&self, fields: &mut Object) {
        fields.retain(|name, _| self.includes(name));
    }

    fn includes(&self, name: &str) -> bool {
        *self.columns.get(name).unwrap_or(&self.other) == Inclusion::Included
    }
}

impl Default for Selection {
    /// Everything.
    fn default() -> Selection {
        Selection {
            other: Inclusion::Included,
            components: BTreeMap::new(),
        }
    }
}

impl Selection {
    /// Reads the selection from the parameters of a request. The first form that is well-formed is
    /// taken, as Convex does, down to everything. Errors: 500 for a table that cannot exist and for
    /// leaving out `_id`.
    pub fn from_parameters(parameters: &Map<String, Json>) -> Result<Selection, RequestError> {
        if let Some(json) = parameters.get("selection")
            && let Ok(selection) = Selection::deserialize(json)
        {
            selection.check()?;
            return Ok(selection);
        }
        let everything = ComponentSelection::Tables {
            other: Inclusion::Included,
            tables: BTreeMap::new(),
        };
        let text = |name: &str| match parameters.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(()),
        };
        let table = match text("tableName") {
            Ok(None) => text("table_name"),
            named => named,
        };
        let (component, tables) = match (table, text("component")) {
            (Ok(Some(table)), Ok(component)) => {
                let only = ComponentSelection::Tables {
                    other: Inclusion::Excluded,
                    tables: BTreeMap::from([(
                        table.to_owned(),
                        TableSelection::Columns(Columns::ALL),
                    )]),
                };
                (component.unwrap_or(ROOT), only)
            }
            (_, Ok(Some(component))) => (component, everything),
            _ => return Ok(Selection::default()),
        };
        let selection = Selection {
            other: Inclusion::Excluded,
            components: BTreeMap::from([(component.to_owned(), tables)]),
        };
        selection.check()?;
        Ok(selection)
    }

    /// The columns to export of a tablet's documents. `None`: the table is not selected.
    pub fn columns(&self, tablet: &Tablet) -> Option<&Columns> {
        const ALL: &Columns = &Columns::ALL;
        let included = |inclusion: &Inclusion| (*inclusion == Inclusion::Included).then_some(ALL);
        if tablet.name.starts_with('_') {
            return None;
        }
        match self.components.get(&tablet.component) {
            None => included(&self.other),
            Some(ComponentSelection::Nothing(_)) => None,
            Some(ComponentSelection::Tables { other, tables }) => match tables.get(&tablet.name) {
                None => included(other),
                Some(TableSelection::Nothing(_)) => None,
                Some(TableSelection::Columns(columns)) => Some(columns),
            },
        }
    }

    /// Errors: 500 for a table that cannot exist and for leaving out `_id`.
    pub fn check(&self) -> Result<(), RequestError> {
        for component in self.components.values() {
            let ComponentSelection::Tables { tables, .. } = component else {
                continue;
            };
            for (name, table) in tables {
                if !is_identifier(name) {
                    return Err(RequestError::internal(format!(
                        "{name:?} cannot be the name of a table."
                    )));
                }
                if let TableSelection::Columns(columns) = table
                    && !columns.includes("_id")
                {
                    return Err(RequestError::internal("The column _id cannot be left out."));
                }
            }
        }
        Ok(())
    }
}
