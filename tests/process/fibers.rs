//! Processes and fibers: who waits does not hold others up, and what cancelling leaves.

use std::io::{Read, Write};
use std::time::Duration;

use kapok::process::{Child, Command, Stdio};
use kapok::{fiber, no_suspend, spawn, timeout};

use crate::support::{all_is_closed_since, child, open_descriptors, panics, run, run_on_one, says};

const SOON: Duration = Duration::from_millis(10);

fn sleeping() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

#[test]
fn many_are_waited_for_on_one_worker_without_threads() {
    child::undisturbed("fibers::many_are_waited_for_on_one_worker_without_threads", || {
        let before = open_descriptors();
        run_on_one(|| {
            let children: Vec<_> = (0..40)
                .map(|i| {
                    spawn(move || {
                        Command::new("sh")
                            .args(["-c", &format!("read x; exit {i}")])
                            .stdin(Stdio::piped())
                            .spawn()
                            .map(|mut child| {
                                fiber::yield_now();
                                drop(child.stdin.take());
                                child.wait().unwrap().code()
                            })
                    })
                })
                .collect();
            for (i, child) in (0..).zip(children) {
                assert_eq!(child.join().unwrap().unwrap(), Some(i));
            }
            assert_eq!(kapok::blocking::stats().threads, 0, "nobody was asked to wait");
        });
        all_is_closed_since(before);
    });
}

#[test]
fn a_wait_that_is_cancelled_leaves_the_process_alone() {
    run(|| {
        let mut child = sleeping();
        timeout(SOON, || child.wait()).unwrap_err();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        timeout(SOON, || cat.stdout.as_mut().unwrap().read(&mut [0])).unwrap_err();
        cat.stdin.as_mut().unwrap().write_all(b"later").unwrap();
        let output = cat.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"later");
    });
}

#[test]
fn killed_on_drop_where_that_was_said() {
    run(|| {
        let mut command = Command::new("sh");
        // Its end of the pipe closes with it.
        command
            .args(["-c", "echo started; exec sleep 1000"])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 8]).unwrap();
        timeout(SOON, || child.wait()).unwrap_err();
        let id = child.id();
        drop(child);
        assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
        // And reaped.
        while std::path::Path::new(&format!("/proc/{id}")).exists() {
            fiber::sleep(Duration::from_millis(1));
        }
        // One that has ended, and one that was reaped.
        let mut ended = Command::new("true").kill_on_drop(true).spawn().unwrap();
        ended.wait().unwrap();
        drop(ended);
        drop(Command::new("true").kill_on_drop(true).spawn().unwrap());
        timeout(SOON, || Command::new("sleep").arg("1000").kill_on_drop(true).output()).unwrap_err();
    });
}

#[test]
fn no_suspend_refuses_to_wait() {
    run_on_one(|| {
        let mut child = sleeping();
        says(&panics(|| no_suspend(|| child.wait())), &["no_suspend"]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(no_suspend(|| child.wait()).is_ok());
    });
}

/// What a sandbox does that knows no `pidfd_open`: the signal takes its place.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn without_descriptors_of_processes() {
    child::undisturbed("fibers::without_descriptors_of_processes", || {
        use seccompiler::{SeccompAction, SeccompFilter};

        let rules = [(libc::SYS_pidfd_open, vec![])].into_iter().collect();
        let refused = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, seccompiler::TargetArch::x86_64).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
        run(|| {
            let waiting: Vec<_> = (0..5)
                .map(|i| {
                    spawn(move || {
                        Command::new("sh")
                            .args(["-c", &format!("exit {i}")])
                            .status()
                            .unwrap()
                            .code()
                    })
                })
                .collect();
            for (i, child) in (0..).zip(waiting) {
                assert_eq!(child.join().unwrap(), Some(i));
            }
            assert_eq!(kapok::blocking::stats().threads, 0);
        });
    });
}
