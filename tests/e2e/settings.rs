//! Which source of a setting wins. `sluice doctor` tells the limit that counts.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The line about limits, from a process whose environment holds nothing but `variables`.
fn limits(folder: &Path, variables: &[(&str, &str)], flags: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("doctor")
        .args(flags)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("limits"));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let variable = [("SLUICE_SYNC_LIMIT_BYTES", "300")];
    let flag = ["--sync-limit-bytes", "400"];
    let limits = |variables: &[_], flags: &[_]| limits(folder.path(), variables, flags);

    assert!(limits(&[], &[]).contains(" 450000000 bytes"));
    fs::write(folder.path().join("sluice.toml"), "sync_limit_bytes = 200").unwrap();
    assert!(limits(&[], &[]).contains(" 200 bytes"));
    assert!(limits(&variable, &[]).contains(" 300 bytes"));
    assert!(limits(&variable, &flag).contains(" 400 bytes"));
}

#[test]
fn a_file_of_another_name_is_read_instead() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sluice.toml"), "sync_limit_bytes = 200").unwrap();
    let other = folder.path().join("other.toml");
    fs::write(&other, "sync_limit_bytes = 500").unwrap();
    let other = other.to_str().unwrap();
    assert!(limits(folder.path(), &[], &["--config", other]).contains(" 500 bytes"));
    assert!(limits(folder.path(), &[("SLUICE_CONFIG", other)], &[]).contains(" 500 bytes"));
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let folder = tempfile::tempdir().unwrap();
    let empty = [
        ("SLUICE_SYNC_LIMIT_BYTES", ""),
        ("SLUICE_CONFIG", ""),
        ("SLUICE_JWT_AUDIENCE", ""),
        ("SLUICE_VALKEY_URL", ""),
        ("SLUICE_LOG", ""),
    ];
    assert!(limits(folder.path(), &empty, &[]).contains(" 450000000 bytes"));
    fs::write(folder.path().join("sluice.toml"), "sync_limit_bytes = 200").unwrap();
    assert!(limits(folder.path(), &empty, &[]).contains(" 200 bytes"));
}

#[test]
fn tokens_of_an_issuer_and_of_a_secret_are_not_accepted_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |secret: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env_clear()
            .env("SLUICE_JWKS_URL", "http://127.0.0.1:1/jwks")
            .env("SLUICE_DEV_SECRET", secret)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let both = serve("a secret of more than thirty-two bytes");
    assert!(both.contains("two sources of keys"), "{both}");
    // It fails for want of Valkey only.
    let one = serve("");
    assert!(one.contains("valkey_url is not set"), "{one}");
}

#[test]
fn a_misspelt_variable_is_warned_of_by_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("--version")
        .env_clear()
        .envs([("SLUICE_SYNC_LIMIT_BYTE", "300"), ("SLUICE_LOG", "info")])
        .output()
        .unwrap();
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(
        warnings.contains("SLUICE_SYNC_LIMIT_BYTE is no setting"),
        "{warnings}"
    );
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
}
