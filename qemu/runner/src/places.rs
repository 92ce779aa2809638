// SPDX-License-Identifier: GPL-2.0

//! How many machines run at a time. Each keeps one processor of the host busy. More of them beside each other are slower in all
//! than one after another: a part of an emulated kernel's work, such as its timers, goes by the time that passes, not by
//! what gets done in it.

use std::{
    num::NonZero,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Places for machines.
pub struct Places {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: usize,
    /// How long those take that wait.
    waiting: Vec<u32>,
}

/// A place, until it is dropped.
pub struct Place<'a>(&'a Places);

impl Places {
    /// As many as the host has processors.
    pub fn of_host() -> Self {
        Self::new(thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn new(free: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free,
                waiting: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Who takes longest, about so many `minutes`, comes first.
    pub fn take(&self, minutes: u32) -> Place<'_> {
        let mut state = self.state();
        state.waiting.push(minutes);
        state = self
            .changed
            .wait_while(state, |state| {
                state.free == 0 || state.waiting.iter().any(|other| *other > minutes)
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.free -= 1;
        if let Some(own) = state.waiting.iter().position(|one| *one == minutes) {
            state.waiting.swap_remove(own);
        }
        drop(state);
        // Who waited for this one to be served.
        self.changed.notify_all();
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().free += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicUsize, sync::atomic::Ordering::SeqCst, time::Duration};

    #[test]
    fn never_more_than_there_are_places() {
        let places = Places::new(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for minutes in 0..8 {
                let (places, now, most) = (&places, &now, &most);
                scope.spawn(move || {
                    let _place = places.take(minutes % 3);
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, SeqCst);
                });
            }
        });
        assert_eq!(most.into_inner(), 2);
        assert_eq!(places.state().waiting, [0; 0]);
    }

    #[test]
    fn the_longest_comes_first() {
        let places = Places::new(1);
        let order = Mutex::new(Vec::new());
        let first = places.take(1);
        thread::scope(|scope| {
            for minutes in [2, 9, 5] {
                let (places, order) = (&places, &order);
                scope.spawn(move || {
                    let _place = places.take(minutes);
                    order.lock().unwrap().push(minutes);
                });
            }
            while places.state().waiting.len() < 3 {
                thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [9, 5, 2]);
    }
}
