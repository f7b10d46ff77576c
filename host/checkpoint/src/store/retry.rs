//! Tries again, a bounded number of times and ever longer apart, what may pass.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{self, Either};

use super::{Creation, Object, Store, StoreError, Upload};

/// Waits. The runtime's is a timer, a test's returns at once.
#[async_trait]
pub trait Pause: Send + Sync + fmt::Debug {
    /// Returns after this time.
    async fn pause(&self, time: Duration);
}

/// How often, and how long apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often an operation is tried in all. Default: 6.
    pub attempts: u32,
    /// How long after the first failure it is tried again; twice as long each time after. Default: 100 ms.
    pub first: Duration,
    /// No pause is longer. Default: 5 s.
    pub longest: Duration,
    /// How long one attempt may take; then it counts as failed. Default: 30 s.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The pause after so many failures (from 1).
    pub fn pause_after(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// A store whose operations are tried again. Uploads are not: their writer makes the object anew.
#[derive(Debug)]
pub struct Retrying {
    store: Arc<dyn Store>,
    policy: RetryPolicy,
    pause: Arc<dyn Pause>,
}

impl Retrying {
    /// `store`, tried again by `policy`.
    pub fn new(store: Arc<dyn Store>, policy: RetryPolicy, pause: Arc<dyn Pause>) -> Self {
        Self { store, policy, pause }
    }

    async fn attempts<T, F: Future<Output = Result<T, StoreError>> + Send>(
        &self,
        path: &str,
        mut operation: impl FnMut() -> F + Send,
    ) -> Result<T, StoreError> {
        let mut failures = 0;
        loop {
            let attempt = std::pin::pin!(operation());
            let deadline = self.pause.pause(self.policy.deadline);
            let result = match future::select(attempt, deadline).await {
                Either::Left((result, _)) => result,
                Either::Right(((), _)) => Err(StoreError::Transient {
                    store: self.store.name(),
                    path: path.to_owned(),
                    source: format!("no answer within {:?}", self.policy.deadline).into(),
                }),
            };
            failures += 1;
            match result {
                Err(error) if error.may_pass() && failures < self.policy.attempts => {
                    self.pause.pause(self.policy.pause_after(failures)).await;
                }
                result => return result,
            }
        }
    }
}

#[async_trait]
impl Store for Retrying {
    fn name(&self) -> String {
        self.store.name()
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError> {
        self.attempts(path, || self.store.put_new(path, bytes.clone())).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.attempts(path, || self.store.put(path, bytes.clone())).await
    }

    async fn upload(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.attempts(path, || self.store.upload(path)).await
    }

    async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        self.attempts(path, || self.store.get(path)).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.attempts(path, || self.store.get_range(path, range.clone())).await
    }

    async fn length(&self, path: &str) -> Result<u64, StoreError> {
        self.attempts(path, || self.store.length(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Object>, StoreError> {
        self.attempts(folder, || self.store.list(folder)).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.attempts(folder, || self.store.folders(folder)).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.attempts(path, || self.store.delete(path)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.attempts(from, || self.store.copy(from, to)).await
    }

    async fn remove_unfinished(&self, folder: &str) -> Result<(), StoreError> {
        self.attempts(folder, || self.store.remove_unfinished(folder)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(350),
            ..RetryPolicy::default()
        };
        let pauses: Vec<u128> = [1, 2, 3, 40].map(|n| policy.pause_after(n).as_millis()).into();
        assert_eq!(pauses, [100, 200, 350, 350]);
    }
}
