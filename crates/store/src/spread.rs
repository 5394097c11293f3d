//! How what would fill one slot is divided into parts, each in a slot of its own.

/// FNV-1a of a text. The part of what is kept follows from it, so it must not change from one
/// version to the next.
pub(crate) fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_fnv_1a() {
        let known = [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("foobar", 0xbf9c_f968),
        ];
        for (text, expected) in known {
            assert_eq!(hash(text), expected, "{text}");
        }
    }
}
