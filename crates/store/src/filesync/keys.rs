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
//! | `share:<share>:version:<version>` | hash of a content: `file`, `uploaded` (the file that it was uploaded for), `size`, `sha256`, `mime`, `user`, `at` (ms), `state` (`pending` until a change names it, `held` by an open conflict, `kept`), `applied` (ms), `pos`, `needed` (by so many open conflicts), `parts` (where its bytes are) | none |
//! | `share:<share>:versions:<file>` | sorted set of the kept versions of a file by when they were applied, ms | none |
//! | `share:<share>:pending:<file>` | set of the versions of a file that no change has kept yet | none |
//! | `share:<share>:superseded` | sorted set of kept versions that are not what their files hold, by since when, ms; 0 for those that are too many | none |
//! | `share:<share>:upload:<version>` | hash of an open upload: `file`, `name`, `user`, `size`, `mime`, `offset` (up to where it is durable), `writer` (number of the one that has it), `parts`, `hash` (state of the SHA-256 up to there) | none |
//! | `share:<share>:alias:<name>:<user>` | string: the version that the user's upload of this name becomes or has become | 48 h without progress |
//! | `share:<share>:conflict:<id>` | hash of a conflict: `json`, `needs` (versions that it is compared with, tabs between), and `resolution` once it is resolved | none |
//! | `share:<share>:conflicts` | sorted set of conflicts by when they were detected, ms | none |
//! | `share:<share>:resolved` | sorted set of those that are resolved by since when, ms: they go with the log | none |
//! | `share:<share>:open` | hash: `<resource>` tab `<device number>` → id of the open conflict | none |
//! | `share:<share>:nudges` | channel: each change with the folders that hold it | |
//! | `share:<share>:held` | hash: device number → how many of its changes are in open conflicts | none |
//! | `share:<share>:doomed` | sorted set of what is to be removed, by the position that deleted it: ids of files, and `<folder> <generation>` with all that is in it | none |
//! | `share:<share>:deleted:<device number>` | string: nodes that the device has deleted of late | 1 h |
//! | `home:<id>` | set of the shares that have a node of this id, a version for one, or a conflict | none |
//! | `followed` | hash: `_id` of a document of Convex that has named a share → that share | none |
//! | `unnamed` | sorted set of `<share> <version>`: open uploads, and versions that no change has named yet, by when they end, ms | none |
//! | `garbage` | sorted set of `<share> <version>`: contents that nothing refers to any more, by when their bytes may go, ms | none |
//! | `feed` | stream of the tenant's changes, ids `<tenant position>-0`: `share`, `position`, and `grantee` of grants | none |
//! | `user:<user>:device:<device>` | hash of a device: `seq` (its number, that of no other device of the tenant, ever), `user`, `id`, `name`, `platform`, `version`, `active` (`1` or `0`), `by_clock` (`1` when the clock has put it to sleep), `seen`, `created` (ms), `instance`, `first` (its first instance) | none |
//! | `user:<user>:device:<device>:cursors` | hash: share → position, when the device moved there (ms; '' for never), `1` while it needs a snapshot, tabs between | none |
//! | `user:<user>:device:<device>:preferences` | hash: share → JSON, see [`KeptPreference`](super::KeptPreference) | none |
//! | `user:<user>:devices` | set of the ids of a user's devices | none |
//! | `seen` | sorted set: `<user> <device>` by when the device was seen, ms; without those that were looked at since, as they were not seen for long | none |
//! | `tenant` | hash: `position` (last one of the feed), `devices` (last number given out) | none |
//! | `shares` | set of the tenant's shares | none |
//! | `access` | channel: whose grants, preferences or devices have changed | |
//! | `made:<call>` | string: the answer of a call that may be sent twice | 60 s |
//!
//! Users' names are percent-encoded where others could take their colons and spaces for separators.
//! The channel `access` says whom it is about: a grantee, or a device as `{"user","device"}`.
//!
//! [`TENANTS`] is a set of the tenants that have shares or devices, in a slot of its own.

use super::DeviceName;

/// The tenants that have shares or devices.
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

/// The keys of one device, of its user, and of their tenant.
#[derive(Debug, Clone)]
pub(super) struct DeviceKeys {
    pub device: String,
    pub cursors: String,
    pub preferences: String,
    pub devices: String,
    /// The device in `seen`.
    pub place: String,
    pub seen: String,
    pub tenant: String,
    pub access: String,
    /// What the keys of the tenant begin with.
    pub prefix: String,
    /// What the keys of shares begin with.
    pub share: String,
}

impl DeviceKeys {
    /// Without an id `device` is what the keys of the user's devices begin with.
    pub fn of(device: DeviceName<'_>) -> Self {
        let keys = Keys::new(device.tenant);
        let user = encode_user(device.user);
        let key = keys.of(&format!("user:{user}:device:{}", device.id));
        Self {
            cursors: format!("{key}:cursors"),
            preferences: format!("{key}:preferences"),
            device: key,
            devices: keys.of(&format!("user:{user}:devices")),
            place: format!("{user} {}", device.id),
            seen: keys.of("seen"),
            tenant: keys.of("tenant"),
            access: keys.of("access"),
            share: keys.share(""),
            prefix: keys.prefix,
        }
    }
}

/// As `fs.device` of `lua/filesync/common.lua` has it.
fn encode_user(user: &str) -> String {
    user.replace('%', "%25")
        .replace(':', "%3A")
        .replace(' ', "%20")
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
