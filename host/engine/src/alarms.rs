//! Wakes tasks at points in processing time: one thread for all workers, which waits for the earliest.
//!
//! What time it is a [`Clock`] says. The thread waits as long as the clock is behind the earliest alarm; whoever moves a
//! clock by hand says so with [`Alarms::look`]. A task that was woken looks at the clock itself: an alarm that goes off
//! too early costs a look, and one that is set anew replaces the one before.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_core::clock::Clock;
use wasmill_core::time::Timestamp;

use crate::waker::Waker;

/// A clock that is set forward while the thread waits is noticed after this time.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_mins(1);

/// A clock, and who is to be woken when. Cheap to clone.
#[derive(Clone)]
pub struct Alarms(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By number. `None`: its owner is gone.
    owners: Vec<Option<Owner>>,
    /// Alarms that have not gone off, each with the number of its waker; at most one for each.
    set: BTreeSet<(Timestamp, usize)>,
    /// The clock may have been moved since the thread looked at it.
    look: bool,
    /// The generation is over.
    over: bool,
}

/// Who an alarm wakes.
struct Owner {
    waker: Waker,
    /// Whether its alarm is still to go off.
    pending: Arc<AtomicBool>,
}

impl Alarms {
    /// Nothing is set.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            clock,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Processing time.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The clock was moved by hand: what is due by it goes off.
    pub fn look(&self) {
        self.lock().look = true;
        self.0.changed.notify_one();
    }

    /// An alarm that is not set, for a task.
    pub(crate) fn of(&self, waker: Waker) -> Alarm {
        let mut state = self.lock();
        let number = state.owners.iter().position(Option::is_none).unwrap_or_else(|| {
            state.owners.push(None);
            state.owners.len() - 1
        });
        let pending = Arc::new(AtomicBool::new(false));
        state.owners[number] = Some(Owner {
            waker,
            pending: Arc::clone(&pending),
        });
        Alarm {
            number,
            at: None,
            pending,
            alarms: self.clone(),
        }
    }

    /// A generation begins.
    pub(crate) fn begin(&self) {
        self.lock().over = false;
    }

    /// Lets alarms go off until [`Self::end`]. Blocks.
    pub(crate) fn run(&self) {
        let mut state = self.lock();
        while !state.over {
            state.look = false;
            let now = self.now();
            while let Some(&(at, number)) = state.set.first()
                && at <= now
            {
                state.set.pop_first();
                if let Some(owner) = &state.owners[number] {
                    owner.pending.store(false, Ordering::SeqCst);
                    owner.waker.wake();
                }
            }
            let wait = state.set.first().map(|(at, _)| {
                let behind = u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0);
                Duration::from_micros(behind).min(LOOK_AT_LEAST_EVERY)
            });
            let idle = |state: &mut State| !state.look && !state.over;
            state = match wait {
                None => self
                    .0
                    .changed
                    .wait_while(state, idle)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    self.0
                        .changed
                        .wait_timeout_while(state, wait, idle)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// No alarm goes off any more.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarms").field("set", &self.lock().set).finish()
    }
}

/// A task's alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    number: usize,
    /// When it goes off, or went.
    at: Option<Timestamp>,
    /// Whether it is still to go off.
    pending: Arc<AtomicBool>,
    alarms: Alarms,
}

impl Alarm {
    /// Processing time.
    pub(crate) fn now(&self) -> Timestamp {
        self.alarms.now()
    }

    /// Wakes the task at `at`, and no longer at what was set before.
    pub(crate) fn set(&mut self, at: Option<Timestamp>) {
        // One that has gone off may have to again: a clock can be set back before its task has looked at it.
        if self.at == at && (at.is_none() || self.pending.load(Ordering::SeqCst)) {
            return;
        }
        let mut state = self.alarms.lock();
        if let Some(before) = self.at {
            state.set.remove(&(before, self.number));
        }
        self.at = at;
        self.pending.store(at.is_some(), Ordering::SeqCst);
        if let Some(at) = at {
            state.set.insert((at, self.number));
            if state.set.first() == Some(&(at, self.number)) {
                state.look = true;
                self.alarms.0.changed.notify_one();
            }
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.set(None);
        self.alarms.lock().owners[self.number] = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::{JoinHandle, spawn};
    use std::time::Duration;

    use wasmill_core::clock::ManualClock;
    use wasmill_core::time::Micros;

    use super::*;

    /// Longer than any alarm of a clock that nobody moves.
    const LIMIT: Duration = Duration::from_mins(2);

    struct Bench {
        clock: Arc<ManualClock>,
        alarms: Alarms,
        thread: Option<JoinHandle<()>>,
    }

    impl Bench {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::new(Timestamp(0)));
            let alarms = Alarms::new(Arc::clone(&clock) as Arc<dyn Clock>);
            alarms.begin();
            let running = alarms.clone();
            let thread = Some(spawn(move || running.run()));
            Self { clock, alarms, thread }
        }

        fn alarm(&self) -> (Alarm, Receiver<Timestamp>) {
            let (send, woken) = channel();
            let clock = Arc::clone(&self.clock);
            let waker = Waker::from_fn(move || send.send(clock.now()).expect("the test waits"));
            (self.alarms.of(waker), woken)
        }

        fn advance(&self, micros: u64) {
            self.clock.advance(Micros(micros));
            self.alarms.look();
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.alarms.end();
            self.thread.take().expect("joined once").join().expect("no panic");
        }
    }

    #[test]
    fn alarms_go_off_in_their_order_when_the_clock_has_come_to_them() {
        let bench = Bench::new();
        let (mut late, late_woken) = bench.alarm();
        let (mut soon, soon_woken) = bench.alarm();
        // An hour away by the machine's clock: nothing happens unless the clock is moved.
        late.set(Some(Timestamp(3_600_000_000)));
        soon.set(Some(Timestamp(1_800_000_000)));
        bench.advance(1_800_000_000);
        assert_eq!(soon_woken.recv_timeout(LIMIT), Ok(Timestamp(1_800_000_000)));
        assert!(late_woken.try_recv().is_err());
        bench.advance(1_800_000_000);
        assert_eq!(late_woken.recv_timeout(LIMIT), Ok(Timestamp(3_600_000_000)));
        assert!(soon_woken.try_recv().is_err());
    }

    #[test]
    fn an_alarm_that_is_set_anew_goes_off_once() {
        let bench = Bench::new();
        let (mut moved, moved_woken) = bench.alarm();
        let (mut other, other_woken) = bench.alarm();
        moved.set(Some(Timestamp(1_000_000_000)));
        moved.set(Some(Timestamp(3_000_000_000)));
        other.set(Some(Timestamp(2_000_000_000)));
        bench.advance(2_500_000_000);
        assert_eq!(other_woken.recv_timeout(LIMIT), Ok(Timestamp(2_500_000_000)));
        assert!(moved_woken.try_recv().is_err(), "it was set later");
        bench.advance(500_000_000);
        assert_eq!(moved_woken.recv_timeout(LIMIT), Ok(Timestamp(3_000_000_000)));
    }

    #[test]
    fn an_alarm_that_is_dropped_or_taken_back_does_not_go_off() {
        let bench = Bench::new();
        let (mut dropped, dropped_woken) = bench.alarm();
        let (mut taken_back, taken_woken) = bench.alarm();
        let (mut other, other_woken) = bench.alarm();
        for alarm in [&mut dropped, &mut taken_back] {
            alarm.set(Some(Timestamp(1)));
        }
        drop(dropped);
        taken_back.set(None);
        other.set(Some(Timestamp(2)));
        bench.advance(2);
        assert_eq!(other_woken.recv_timeout(LIMIT), Ok(Timestamp(2)));
        assert!(dropped_woken.try_recv().is_err() && taken_woken.try_recv().is_err());
    }
}
