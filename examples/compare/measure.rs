//! Measuring several subjects at the same works, in turns: a machine whose speed drifts treats them alike.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// What one run of a work came to.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Nanoseconds for each.
    pub(crate) ns: f64,
    /// System calls for each, where the system lets us count them.
    pub(crate) calls: Option<f64>,
}

impl From<f64> for Sample {
    fn from(ns: f64) -> Sample {
        Sample { ns, calls: None }
    }
}

/// A work that can be done by any subject: does something so many times.
pub(crate) struct Work<S> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(S, u32) -> Sample,
}

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// What one sample is to take.
    pub(crate) sample: Duration,
    /// No further round begins after so long: on a machine that others use, there are fewer.
    pub(crate) limit: Duration,
}

/// What one subject took for one work.
pub(crate) struct Row {
    pub(crate) subject: String,
    /// How many times the work was done in a sample.
    pub(crate) times: u32,
    /// Nanoseconds for each, the least first: one figure for a round.
    pub(crate) ns: Vec<f64>,
    pub(crate) calls: Option<f64>,
}

impl Row {
    pub(crate) fn min(&self) -> f64 {
        self.ns[0]
    }

    pub(crate) fn median(&self) -> f64 {
        self.ns[self.ns.len() / 2]
    }

    pub(crate) fn max(&self) -> f64 {
        self.ns[self.ns.len() - 1]
    }
}

/// What all subjects took for one work.
pub(crate) struct Table {
    pub(crate) work: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn row(&self, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject == subject)
    }
}

/// Does every work with every subject in every round; calls `tick` with what comes next, once for each sample.
pub(crate) fn measure<S: Copy + Display>(
    subjects: &[S],
    works: &[Work<S>],
    plan: Plan,
    mut tick: impl FnMut(&str),
) -> Vec<Table> {
    let begin = Instant::now();
    let mut tables: Vec<Table> = Vec::new();
    for work in works {
        let rows = subjects.iter().map(|&subject| {
            tick(&format!("{}, {subject}", work.name));
            Row {
                subject: subject.to_string(),
                times: calibrate(subject, work, plan.sample),
                ns: Vec::new(),
                calls: None,
            }
        });
        let rows = rows.collect();
        tables.push(Table { work: work.name, rows });
    }
    for round in 0..plan.rounds {
        if round > 0 && begin.elapsed() > plan.limit {
            break;
        }
        for (work, table) in works.iter().zip(&mut tables) {
            for turn in 0..subjects.len() {
                // Another one is first each time.
                let who = (turn + round) % subjects.len();
                let row = &mut table.rows[who];
                tick(&format!("{}, {}", work.name, row.subject));
                let sample = (work.run)(subjects[who], row.times);
                row.ns.push(sample.ns);
                row.calls = sample.calls.or(row.calls);
            }
        }
    }
    for row in tables.iter_mut().flat_map(|table| &mut table.rows) {
        row.ns.sort_by(f64::total_cmp);
    }
    tables
}

/// How many times take about as long as a sample is to take, by the work's own clock: setting it up does not count.
fn calibrate<S: Copy>(subject: S, work: &Work<S>, wanted: Duration) -> u32 {
    const MOST: u32 = 20_000_000;
    let wanted = wanted.as_secs_f64() * 1e9;
    let mut times = 64;
    loop {
        let took = f64::from(times) * (work.run)(subject, times).ns;
        if took * 4.0 >= wanted || times >= MOST {
            let scale = wanted / took.max(1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within these bounds"
            )]
            let times = (f64::from(times) * scale).clamp(64.0, f64::from(MOST)) as u32;
            return times;
        }
        times *= 4;
    }
}
