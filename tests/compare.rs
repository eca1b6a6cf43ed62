//! The example that compares engines and reactors, from outside, in a quick run.

mod support;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::watchdog;

/// Built as this test is, by whoever runs it.
#[track_caller]
fn example() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let profile = own.ancestors().nth(2).expect("target/PROFILE/deps/this");
    let example = profile.join("examples/compare");
    assert!(
        example.is_file(),
        "{} is missing: run `cargo build --examples` first",
        example.display()
    );
    example
}

#[test]
fn all_are_compared_and_reported() {
    let _watchdog = watchdog();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new");
    let output = Command::new(example())
        .arg("--quick")
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // No terminal, so no progress.
    assert_eq!(output.stderr, b"");

    let engines: Vec<_> = kapok::Engine::available().iter().map(ToString::to_string).collect();
    let json: Value = serde_json::from_str(&std::fs::read_to_string(out.join("compare.json")).unwrap()).unwrap();
    assert_eq!(json["rounds"], 1);
    assert!(
        json["environment"]["target"]
            .as_str()
            .unwrap()
            .starts_with(std::env::consts::ARCH)
    );
    assert!(json["references"][0]["ns"].as_f64().unwrap() > 0.0);
    let html = std::fs::read_to_string(out.join("compare.html")).unwrap();
    for (group, works) in [("engines", 11), ("reactors", 2)] {
        let tables = json[group].as_array().unwrap();
        assert_eq!(tables.len(), works, "{group}");
        for table in tables {
            let work = table["work"].as_str().unwrap();
            let rows = table["rows"].as_array().unwrap();
            let subjects: Vec<_> = rows.iter().map(|row| row["subject"].as_str().unwrap()).collect();
            if group == "engines" {
                assert_eq!(subjects, engines, "{work}");
            } else {
                assert!(subjects.contains(&"poll"), "{work}: {subjects:?}");
            }
            for row in rows {
                let [min, median, max] = ["min", "median", "max"].map(|name| row[name].as_f64().unwrap());
                assert!(0.0 < min && min <= median && median <= max, "{work}: {row}");
                assert_eq!(row["all"].as_array().unwrap().len(), 1, "{work}");
            }
            // In the table, in the group's chart, and in its own.
            assert!(html.matches(work).count() >= 3, "{work}");
            assert!(stdout.contains(work), "{work} is not in {stdout}");
        }
        // The group's chart, and one for each work.
        assert!(html.matches("<svg").count() > works);
    }
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    // Nothing has to be fetched to show it.
    assert!(
        !html.contains("src=") && !html.contains("href="),
        "it refers to other files"
    );
}

#[test]
fn where_nothing_can_be_compared_it_says_why() {
    let _watchdog = watchdog();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(example())
        .args(["--quick", "--out"])
        .arg(dir.path())
        .env("KAPOK_SWITCH", "nonsense")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    support::says(&stderr, &["KAPOK_SWITCH", "nonsense"]);
}
