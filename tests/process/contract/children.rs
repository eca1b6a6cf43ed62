//! What child processes do.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::process::{Command, Stdio};
use super::{CommandExt, run, thread};

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn codes_and_signals() {
    run(|| {
        assert!(sh("exit 0").status().unwrap().success());
        assert_eq!(sh("exit 7").status().unwrap().code(), Some(7));
        let killed = sh("kill -9 $$").status().unwrap();
        assert_eq!((killed.code(), killed.signal()), (None, Some(9)));
        let mut child = sh("exec sleep 1000").spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none() && child.id() > 1);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(child.wait().unwrap().signal(), Some(9), "as often as one likes");
        assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
        child.kill().unwrap();
        if crate::support::emulator::lacks("a vfork that tells the parent why the exec failed") {
            return;
        }
        assert_eq!(
            Command::new("/nowhere/at all").spawn().unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            Command::new("/nowhere/at all").output().unwrap_err().kind(),
            ErrorKind::NotFound
        );
    });
}

#[test]
fn output_is_collected_from_both_pipes_at_once() {
    run(|| {
        let both = "i=0; while [ $i -lt 3000 ]; do echo out of the one; echo complaints >&2; i=$((i+1)); done; exit 3";
        let output = sh(both).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, "out of the one\n".repeat(3000).as_bytes());
        assert_eq!(output.stderr, "complaints\n".repeat(3000).as_bytes());
        // There is nothing to read, and what was said about a stream stays.
        let output = sh("cat; echo said >&2").stderr(Stdio::null()).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
        let mut command = sh("echo twice");
        assert_eq!(command.output().unwrap().stdout, b"twice\n");
        assert_eq!(command.output().unwrap().stdout, b"twice\n");
        let child = sh("echo only err >&2").stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait_with_output().unwrap().stderr, b"only err\n");
    });
}

#[test]
fn pipes_in_both_directions() {
    run(|| {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(child.stderr.is_none());
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        // More than a pipe holds, so that both ends wait for the other.
        let sent: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            stdin.write_all(&sent).unwrap();
            stdin.flush().unwrap();
        });
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).unwrap();
        assert!(got == expected);
        writer.join().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn conversations_and_ends() {
    run(|| {
        let mut child = sh("while read line; do echo \"<$line>\"; done; echo end")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        for question in ["one", "two", "three"] {
            writeln!(child.stdin.as_ref().unwrap(), "{question}").unwrap();
            assert_eq!(answers.next().unwrap().unwrap(), format!("<{question}>"));
        }
        // Waiting closes what it reads from.
        assert!(child.wait().unwrap().success());
        assert_eq!(answers.map(Result::unwrap).collect::<Vec<_>>(), ["end"]);

        let mut gone = sh("exec <&-; echo closed")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        gone.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        // A neighbouring test's child holds a copy of the reading end between its fork and its exec.
        let error = loop {
            match gone.stdin.as_mut().unwrap().write_all(b"x") {
                Ok(()) => thread::sleep(Duration::from_millis(1)),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        gone.wait().unwrap();
    });
}

#[test]
fn one_process_into_the_next() {
    run(|| {
        let mut first = sh("sleep 0.05; echo from the first")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let between = first.stdout.take().unwrap();
        // The second one reads a pipe that blocks, as programs expect.
        let second = Command::new("tr").args(["a-z", "A-Z"]).stdin(between).output().unwrap();
        assert_eq!(second.stdout, b"FROM THE FIRST\n");
        assert!(first.wait().unwrap().success());
        let mut third = sh("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut file = std::fs::File::from(OwnedFd::from(third.stdin.take().unwrap()));
        file.write_all(b"by a file").unwrap();
        drop(file);
        assert_eq!(third.wait_with_output().unwrap().stdout, b"by a file");
    });
}

#[test]
fn what_it_is_started_with() {
    run(|| {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        let mut command = sh("echo $0 $ONE $TWO; pwd");
        command
            .env_clear()
            .env("ONE", "1")
            .envs([("TWO", "2"), ("THREE", "3")])
            .env_remove("THREE");
        command
            .env("PATH", std::env::var_os("PATH").unwrap())
            .current_dir(&directory)
            .arg0("renamed");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("1 2"), "{text}");
        assert_eq!(lines[1], directory.to_str().unwrap());
        assert_eq!(command.get_program(), "sh");
        assert_eq!(command.get_args().count(), 2);
        assert_eq!(command.get_current_dir(), Some(&*directory));
        assert!(
            command
                .get_envs()
                .any(|(name, value)| name == "ONE" && value.unwrap() == "1")
        );
        let group = sh("ps -o pgid= -p $$").process_group(0).output();
        assert!(group.is_ok());
        assert_eq!(format!("{:?}", Command::new("a").arg("b c")), r#""a" "b c""#);
        let child = sh("exit 0").stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(
            format!("{child:?}"),
            "Child { stdin: Some(ChildStdin { .. }), stdout: None, stderr: None, .. }"
        );
        drop(child.wait_with_output().unwrap());
    });
}
