//! What a real server answers when it cannot do what it is asked, and how that is sorted.

use std::time::Duration;

use redis::{Cmd, Connection, RedisError, cmd};
use sluice_test_support::{TestValkey, free_port};
use sluice_valkey::{Fault, Valkey};

fn command(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut command = cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

fn run(connection: &mut Connection, words: &str) {
    command(words).exec(connection).unwrap();
}

/// The fault of a command that must fail.
fn fault(connection: &mut Connection, words: &str) -> Fault {
    let error = command(words).exec(connection).unwrap_err();
    Fault::of(&error)
}

/// The fault of a script that must fail.
fn fault_of_script(connection: &mut Connection, text: &str) -> Fault {
    let error = cmd("EVAL").arg(text).arg(0).exec(connection).unwrap_err();
    Fault::of(&error)
}

#[test]
fn a_server_that_cannot_write_for_now_is_passing_in_commands_and_in_scripts() {
    let valkey = TestValkey::start();
    let mut admin = valkey.connection();
    for (set, undo, expected) in [
        (
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
            Fault::OutOfMemory,
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            Fault::NotWritable,
        ),
        (
            "REPLICAOF 127.0.0.1 1",
            "REPLICAOF NO ONE",
            Fault::NotWritable,
        ),
    ] {
        run(&mut admin, set);
        assert_eq!(fault(&mut admin, "SET a 1"), expected, "{set}");
        let script = "return redis.call('SET', 'a', 1)";
        assert_eq!(fault_of_script(&mut admin, script), expected, "{set}");
        run(&mut admin, undo);
    }
}

#[test]
fn a_server_that_runs_a_long_script_is_busy() {
    let valkey = TestValkey::start_with(&["--busy-reply-threshold", "20"]);
    let (mut busy, mut other) = (valkey.connection(), valkey.connection());
    let spinning = std::thread::spawn(move || {
        // Ended by SCRIPT KILL, or by itself.
        let text = "local n = 0; while n < 2000000000 do n = n + 1 end";
        cmd("EVAL").arg(text).arg(0).exec(&mut busy).unwrap_err()
    });
    let mut found = None;
    for _ in 0..500 {
        if let Err(error) = cmd("GET").arg("a").exec(&mut other) {
            found = Some(Fault::of(&error));
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(found, Some(Fault::Busy));
    run(&mut other, "SCRIPT KILL");
    // Killed by hand: that is not a reason to give up what the script was for.
    assert_ne!(Fault::of(&spinning.join().unwrap()), Fault::Final);
}

#[test]
fn refused_users_and_too_many_connections_are_passing() {
    let valkey = TestValkey::start();
    let mut admin = valkey.connection();
    run(&mut admin, "ACL SETUSER reader on >pass ~* +get");
    let connect = |user: &str| -> Result<Connection, RedisError> {
        let url = format!("redis://{user}@127.0.0.1:{}", valkey.port());
        redis::Client::open(url)?.get_connection()
    };
    let error = connect("reader:wrong").err().unwrap();
    assert_eq!(Fault::of(&error), Fault::AccessDenied, "{error}");
    let mut reader = connect("reader:pass").unwrap();
    assert_eq!(fault(&mut reader, "SET a 1"), Fault::AccessDenied);
    let subscribe = fault(&mut reader, "SUBSCRIBE st1:nudges");
    assert_eq!(subscribe, Fault::AccessDenied);

    run(&mut admin, "CONFIG SET maxclients 2");
    let refused = connect("reader:pass").err().unwrap();
    assert!(
        matches!(Fault::of(&refused), Fault::Busy | Fault::Outage),
        "{refused}"
    );
}

#[test]
fn a_call_that_is_wrong_in_itself_is_final() {
    let valkey = TestValkey::start();
    let mut admin = valkey.connection();
    run(&mut admin, "LPUSH list a");
    for words in [
        "INCR list",
        "EXPIRE list x",
        "PEXPIREAT list 9223372036854775807000",
        "SET a 1 EX 0",
        "GET",
    ] {
        assert_eq!(fault(&mut admin, words), Fault::Final, "{words}");
    }
    for text in [
        "return redis.call('INCR', 'list')",
        "return redis.call('PEXPIREAT', 'list', '1e19')",
        "return nothing.at_all",
    ] {
        assert_eq!(fault_of_script(&mut admin, text), Fault::Final, "{text}");
    }
    let library =
        "#!lua name=l\nredis.register_function('f', function() return nothing.at_all end)";
    cmd("FUNCTION")
        .arg("LOAD")
        .arg(library)
        .exec(&mut admin)
        .unwrap();
    assert_eq!(fault(&mut admin, "FCALL f 0"), Fault::Final);
}

#[test]
fn of_commands_that_fail_together_the_first_one_counts() {
    let valkey = TestValkey::start();
    let mut admin = valkey.connection();
    run(&mut admin, "LPUSH list a");
    let mut pipe = redis::pipe();
    pipe.add_command(command("SET a 1"))
        .add_command(command("INCR list"));
    let error = pipe.exec(&mut admin).unwrap_err();
    assert_eq!(Fault::of(&error), Fault::Final, "{error}");
    run(&mut admin, "CONFIG SET maxmemory 1");
    let error = pipe.exec(&mut admin).unwrap_err();
    assert_eq!(Fault::of(&error), Fault::OutOfMemory, "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_outage() {
    let valkey = Valkey::at(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    let error = valkey.ping().await.unwrap_err();
    assert_eq!(Fault::of(&error), Fault::Outage);
}
