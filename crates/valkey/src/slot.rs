//! The slot that a key lies in, by which a cluster spreads keys over its nodes.
//!
//! The rule is that of the cluster specification: CRC-16 (XMODEM) of the key's hash tag, or of the
//! whole key when it has none, modulo 16,384.

use redis::{Arg, Cmd};

/// How many slots a cluster has.
pub(crate) const SLOTS: usize = 16_384;

const CRC16: [u16; 256] = table();

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    let crc = tag(key).iter().fold(0_u16, |crc, &byte| {
        (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)]
    });
    crc % SLOTS as u16
}

/// The slot of a command's first key; none when it has no key.
pub(crate) fn slot_of_command(command: &Cmd) -> Option<u16> {
    let mut arguments = command.args_iter().filter_map(|argument| match argument {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    let key = match arguments.next()? {
        // The function and the number of keys come first.
        b"FCALL" | b"FCALL_RO" => arguments.nth(2)?,
        b"PING" | b"TIME" | b"INFO" | b"FUNCTION" | b"SCAN" | b"CLUSTER" | b"CONFIG"
        | b"MODULE" => return None,
        _ => arguments.next()?,
    };
    Some(slot_of(key))
}

/// What of a key decides: what stands between the first `{` and the next `}`, unless that is
/// nothing.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = match crc & 0x8000 {
                0 => crc << 1,
                _ => (crc << 1) ^ 0x1021,
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // Its own example, and what a server's CLUSTER KEYSLOT says.
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), 8363);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn a_command_lies_in_the_slot_of_its_first_key() {
        let mut get = redis::cmd("GET");
        get.arg("foo").arg("bar");
        assert_eq!(slot_of_command(&get), Some(12182));
        let mut call = redis::cmd("FCALL");
        call.arg("library_read").arg(2).arg("foo").arg("other");
        assert_eq!(slot_of_command(&call), Some(12182));
        assert_eq!(slot_of_command(redis::cmd("INFO").arg("server")), None);
    }
}
