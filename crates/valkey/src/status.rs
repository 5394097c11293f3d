//! The first word of an answer.

/// Declares the words with which a function says how a call went, as its file lists them.
///
/// ```
/// sluice_valkey::statuses! {
///     /// The outcome of a push.
///     enum Pushed {
///         /// It is in.
///         Staged = "staged",
///         /// There was no room.
///         Refused = "refused",
///     }
/// }
/// let word = redis::Value::BulkString(b"refused".to_vec());
/// let pushed: Pushed = redis::from_redis_value(word).unwrap();
/// assert!(matches!(pushed, Pushed::Refused));
/// assert!(redis::from_redis_value::<Pushed>(redis::Value::Int(1)).is_err());
/// ```
#[macro_export]
macro_rules! statuses {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $($(#[$word_meta:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$word_meta])* $variant,)+ }

        impl redis::FromRedisValue for $name {
            fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
                let word = match &value {
                    redis::Value::BulkString(word) => word.as_slice(),
                    redis::Value::SimpleString(word) => word.as_bytes(),
                    _ => &[],
                };
                $(if word == $word.as_bytes() {
                    return Ok(Self::$variant);
                })+
                Err(concat!("an unknown status of ", stringify!($name)).into())
            }
        }
    };
}
