//! The protocol as a whole: hosts over one faulty store, killed, asleep and woken in an order that a seed decides.
//!
//! What runs is the crate's own code, not a model of it; what is modelled is the job (it counts), the system that output
//! goes to, and the store's faults. A run that fails is run again by its seed alone.
//! `WASMILL_SIMULATION_RUNS` and `WASMILL_SIMULATION_SEED` say how many runs there are and where they begin.

#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use wasmill_checkpoint::store::{Faults, Refusal};

use host::{End, live};
use world::{Mutation, World};

/// How many runs there are by default.
const RUNS: u64 = 5_000;
/// No run takes more steps: whoever needs more does not come to an end.
const STEPS_MAX: u64 = 200_000;
/// Hosts that live at once.
const HOSTS_MAX: usize = 4;

struct Running {
    life: Pin<Box<dyn Future<Output = End>>>,
    /// It does nothing before this step.
    wakes_at: u64,
}

#[derive(Debug, Default)]
struct Told {
    lives: u64,
    kills: u64,
    sleeps: u64,
    steps: u64,
    full: u64,
    others: BTreeMap<&'static str, u64>,
}

/// One run. What was violated, if anything was.
fn simulate(seed: u64, mutation: Mutation, told: &mut Told) -> Result<(), String> {
    let world = Rc::new(World::new(seed, mutation));
    let mut hosts: Vec<Running> = Vec::new();
    let chaos = 100 + world.below(600);
    let (kills, sleeps) = (1 + world.below(12), 1 + world.below(12));
    let mut names = 0;
    let mut finished = false;
    for step in 0.. {
        *world.now.borrow_mut() += 1;
        told.steps += 1;
        if step == chaos {
            world.store.set_faults(Faults::default());
            world.store.refuse(None);
        } else if step < chaos && world.below(400) == 0 {
            told.full += 1;
            world.store.refuse(Some(Refusal::Full));
        } else if world.below(30) == 0 {
            world.store.refuse(None);
        }
        let calm = step >= chaos;
        if step > STEPS_MAX {
            return Err("it does not come to an end".to_owned());
        }
        if !calm && !hosts.is_empty() && world.below(1000) < kills {
            told.kills += 1;
            let killed = world.below(hosts.len() as u64) as usize;
            drop(hosts.swap_remove(killed));
            if mutation == Mutation::StoreLies {
                world.store.lose_unsynced();
            }
        }
        if !calm && !hosts.is_empty() && world.below(1000) < sleeps {
            told.sleeps += 1;
            let sleeper = world.below(hosts.len() as u64) as usize;
            hosts[sleeper].wakes_at = step + 20 + world.below(600);
        }
        if world.below(40) == 0 {
            world.store.arrive();
        }
        let all_asleep = hosts.iter().all(|host| host.wakes_at > step);
        let another = !finished && (hosts.is_empty() || all_asleep || !calm && world.below(300) == 0);
        if another && hosts.len() < HOSTS_MAX {
            told.lives += 1;
            names += 1;
            hosts.push(Running {
                life: Box::pin(live(world.clone(), format!("host-{names}"))),
                wakes_at: 0,
            });
        }
        if let Some(end) = poll_one(&world, &mut hosts, step) {
            finished |= end == End::Finished;
        }
        world.look();
        if let Some(violation) = world.violation() {
            return Err(format!("{violation}; {}", world.story()));
        }
        // Those who were asleep wake up and do what they can.
        if finished && hosts.is_empty() && !world.store.arrive() {
            break;
        }
    }
    world.check_output();
    for (what, count) in &*world.tally.borrow() {
        *told.others.entry(what).or_default() += count;
    }
    match world.violation() {
        Some(violation) => Err(violation),
        None => Ok(()),
    }
}

fn poll_one(world: &World, hosts: &mut Vec<Running>, step: u64) -> Option<End> {
    if hosts.is_empty() {
        return None;
    }
    let chosen = world.below(hosts.len() as u64) as usize;
    if hosts[chosen].wakes_at > step {
        return None;
    }
    let mut context = Context::from_waker(Waker::noop());
    match hosts[chosen].life.as_mut().poll(&mut context) {
        Poll::Ready(end) => {
            drop(hosts.swap_remove(chosen));
            Some(end)
        }
        Poll::Pending => None,
    }
}

fn said(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a test runs is said in the environment"
    )]
    let said = std::env::var(name).ok();
    said.map(|number| number.parse().expect("it is a number"))
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    let runs = said("WASMILL_SIMULATION_RUNS").unwrap_or(RUNS);
    let first = said("WASMILL_SIMULATION_SEED").unwrap_or(0);
    let mut told = Told::default();
    for seed in first..first + runs {
        if let Err(violation) = simulate(seed, Mutation::None, &mut told) {
            panic!("seed {seed}: {violation}");
        }
    }
    let others: Vec<String> = told
        .others
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    println!(
        "{runs} runs from seed {first}: {} lives, {} kills, {} sleeps, {} full disks, {} steps, {}; no violation",
        told.lives,
        told.kills,
        told.sleeps,
        told.full,
        told.steps,
        others.join(", ")
    );
    assert!(runs < 100 || told.lives > 2 * runs, "lives end before their job does");
}

/// A checker that could not fail would prove nothing.
#[expect(clippy::print_stdout, reason = "a seed is shown")]
fn check_noticed(mutation: Mutation, within: u64, expect: &str) {
    let mut told = Told::default();
    let noticed = (0..within).find_map(|seed| Some((seed, simulate(seed, mutation, &mut told).err()?)));
    let Some((seed, violation)) = noticed else {
        panic!("{mutation:?} was not noticed in {within} runs");
    };
    println!("{mutation:?} was noticed with seed {seed}: {violation}");
    assert!(violation.contains(expect), "{violation}");
}

#[test]
fn a_commit_before_the_manifest_is_noticed() {
    check_noticed(Mutation::CommitsBeforeTheManifest, 50, "of which no manifest says so");
}

#[test]
fn a_host_that_ignores_that_it_was_fenced_is_noticed() {
    check_noticed(Mutation::IgnoresFences, 500, "no manifest");
}

#[test]
fn a_link_in_the_place_of_a_removed_one_is_noticed() {
    check_noticed(Mutation::TrustsCreation, 20_000, "no manifest");
}

#[test]
fn a_manifest_before_its_files_is_noticed() {
    check_noticed(Mutation::DoesNotAwaitSnapshots, 50, "is not in");
}

#[test]
fn a_spool_that_goes_before_its_commit_is_noticed() {
    check_noticed(Mutation::RemovesSpoolsEarly, 500, "is gone, and epoch");
}

#[test]
fn a_file_that_goes_although_it_is_needed_is_noticed() {
    check_noticed(Mutation::RemovesNamedFiles, 50, "is not there");
}

#[test]
fn a_store_that_loses_what_it_has_confirmed_is_noticed() {
    check_noticed(Mutation::StoreLies, 500, "");
}

#[test]
fn removals_that_are_left_out_are_noticed() {
    check_noticed(Mutation::ForgetsRemovals, 500, "keys were counted");
}

#[test]
fn pending_output_that_is_forgotten_is_noticed() {
    check_noticed(Mutation::ForgetsPending, 500, "before epoch");
}

#[test]
fn input_that_is_passed_over_is_noticed() {
    check_noticed(Mutation::ReadsOn, 500, "");
}
