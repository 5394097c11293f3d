//! How a surface declares its functions.

use sluice_valkey::{Function, Library, Metrics};

/// What the calls of the store are counted as.
pub(crate) const METRICS: Metrics = Metrics {
    seconds: "sluice_store_script_seconds",
    failures: Some("sluice_store_errors_total"),
    retries: None,
    label: "script",
};

/// Declares `FUNCTIONS`, the functions of a library, each with the name that metrics give it. The
/// texts of the library are those of the shared files and of its own, in this order.
macro_rules! library {
    (
        $prefix:literal from $folder:literal {
            shared [$($shared:literal),* $(,)?],
            files [$($file:literal),+ $(,)?],
            $($function:ident = $name:literal,)+
        }
    ) => {
        pub(super) struct Functions {
            $(pub $function: sluice_valkey::Function,)+
        }

        pub(super) static FUNCTIONS: std::sync::LazyLock<Functions> =
            std::sync::LazyLock::new(|| {
                let shared: &[&str] = &[$(include_str!(concat!($folder, $shared, ".lua"))),*];
                let files = [$(include_str!(concat!($folder, $file, ".lua"))),+];
                let library = sluice_valkey::Library::new($prefix, shared, &files);
                Functions {
                    $($function: $crate::library::function(
                        &library,
                        stringify!($function),
                        $name,
                    ),)+
                }
            });
    };
}

pub(crate) use library;

/// A function of a library, counted as the store's.
pub(crate) fn function(library: &Library, function: &str, name: &'static str) -> Function {
    METRICS.announce(name);
    library.function_named(function, name)
}
