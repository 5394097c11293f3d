//! Every key of file sync. All keys of a tenant lie in one slot: they begin `sf1:{<tenant>}:`.
//!
//! | key after the tag | structure | TTL |
//! |---|---|---|
//! | `share:<share>` | hash of a share: `name`, `owner` (user), `created` (ms), `epoch`, `head` (last position), `floor` (first kept position), `floor_id` (id of the entry before it), `quota` (bytes; '' for none), `used` (bytes of versions), `reserved` (declared bytes of open uploads), `portable` (`1` or `0`), `guard` (the limit of mass deletions; '' for none) | none |
//! | `share:<share>:grants` | hash: `u:<user>` or `g:<group>` → level (1 read, 2 write, 3 administer) and the tenant's position of the grant, a tab between; the owner is not in it | none |
//! | `granted:<grantee>` | set of the shares that `u:<user>` or `g:<group>` can see, the owner's too | none |
//! | `share:<share>:node:<id>` | hash of a file or folder, see `lua/filesync/tree.lua` | none |
//! | `share:<share>:names:<folder>:<generation>` | hash: folded name → id of the node that has it | none |
//! | `share:<share>:ghosts:<folder>:<generation>` | hash: folded name → id of the folder that had it when it was deleted | none |
//! | `share:<share>:nodes` | sorted set, by id, of nodes that are no tombstones | none |
//! | `share:<share>:log` | log (`lua/log.lua`) of changes, as JSON without what all have in common | none |
//! | `share:<share>:outcomes` | hash: device number and change id, a tab between → fingerprint, and the outcome (MessagePack), a tab between | none |
//! | `share:<share>:judged` | stream of the fields of `outcomes`, its ids `<head then>-<n>` | none |
//! | `share:<share>:version:<version>` | hash of a content: `file`, `size`, `sha256`, `mime`, `user`, `device`, `at` (ms), `modified` (ms), `state` (`pending`, `kept`), `parts` | none |
//! | `share:<share>:versions:<file>` | sorted set of the kept versions of a file by when they were applied, ms | none |
//! | `share:<share>:pending` | sorted set of versions that no change has named yet, by when they expire, ms | none |
//! | `share:<share>:garbage` | set of versions that are gone, whose bytes are to be removed | none |
//! | `share:<share>:conflict:<id>` | hash of a conflict: `json`, and `resolution` once it is resolved | none |
//! | `share:<share>:conflicts` | sorted set of conflicts by when they were detected, ms | none |
//! | `share:<share>:open` | hash: `<resource>` tab `<device number>` → id of the open conflict | none |
//! | `share:<share>:nudges` | channel: each change with the folders that hold it | |
//! | `share:<share>:held` | hash: device number → how many of its changes are in open conflicts | none |
//! | `share:<share>:doomed` | sorted set of what is to be removed, by the position that deleted it: ids of files, and `<folder> <generation>` with all that is in it | none |
//! | `share:<share>:deleted:<device number>` | string: nodes that the device has deleted of late | 1 h |
//! | `home:<id>` | set of the shares that have a node of this id | none |
//! | `feed` | stream of the tenant's changes, ids `<tenant position>-0`: `share`, `position`, and `grantee` of grants | none |
//! | `tenant` | hash: `position` (last one of the feed), `devices` (last number given out) | none |
//! | `shares` | set of the tenant's shares | none |
//! | `access` | channel: whose grants, preferences or devices have changed | |
//! | `made:<call>` | string: the answer of a call that may be sent twice | 60 s |
//!
//! [`TENANTS`] is a set of the tenants that have shares, in a slot of its own.

/// The tenants that have shares.
pub(super) const TENANTS: &str = "sf1:tenants";

/// The keys of one tenant.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub fn new(tenant: &str) -> Keys {
        Keys {
            prefix: format!("sf1:{{{}}}:", encode(tenant)),
        }
    }

    /// A key of the tenant, by what follows the tag.
    pub fn of(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    pub fn share(&self, share: &str) -> String {
        format!("{}share:{share}", self.prefix)
    }
}

/// A closing brace would end the hash tag.
fn encode(tenant: &str) -> String {
    tenant.replace('%', "%25").replace('}', "%7D")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_tenant_carry_its_tag() {
        for tenant in ["acme", "a}b", "a%7Db"] {
            let keys = Keys::new(tenant);
            let slot = sluice_valkey::slot_of(keys.of("feed").as_bytes());
            let share = sluice_valkey::slot_of(keys.share("shr_1").as_bytes());
            assert_eq!(slot, share, "{tenant}");
        }
        assert_ne!(Keys::new("a}b").of("feed"), Keys::new("a%7Db").of("feed"));
    }
}
