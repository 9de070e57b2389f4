//! The order in which proxies are tried: those that failed lately come last.
//!
//! Invariant: no way is left out, so that proxies which failed are still tried when there is no other. Must not know: why
//! a proxy failed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use downloader_core::net::{Proxy, Route};
use tokio::time::Instant;

/// How long a proxy that failed comes last.
const REST: Duration = Duration::from_secs(30);

/// Proxies remembered.
const MOST_PROXIES: usize = 256;

/// The proxies that failed lately.
#[derive(Default)]
pub(super) struct Detours(Mutex<HashMap<Proxy, Instant>>);

impl Detours {
    /// The routes, those that failed lately last, else as they are.
    pub(super) fn ordered(&self, mut routes: Vec<Route>) -> Vec<Route> {
        if routes.len() > 1 {
            let failed = self.lock();
            let rests = |route: &Route| match route {
                Route::Via(proxy) => failed.get(proxy).is_some_and(|since| since.elapsed() < REST),
                _ => false,
            };
            // Directly is the last resort, not one way among others.
            let direct = |route: &Route| matches!(route, Route::Direct);
            routes.sort_by_key(|route| (direct(route), rests(route)));
        }
        routes
    }

    /// The way did not lead there.
    pub(super) fn failed(&self, route: &Route) {
        let Route::Via(proxy) = route else { return };
        let mut failed = self.lock();
        if failed.len() >= MOST_PROXIES {
            failed.retain(|_, since| since.elapsed() < REST);
        }
        if failed.len() < MOST_PROXIES {
            failed.insert(proxy.clone(), Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Proxy, Instant>> {
        // Plain data: usable whatever the panicking holder was at.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_failed_comes_last_for_a_while() {
        let via = |url: &str| Route::Via(url.parse().unwrap());
        let routes = vec![via("http://one"), via("http://two"), Route::Direct];
        let detours = Detours::default();
        assert_eq!(detours.ordered(routes.clone()), routes);
        detours.failed(&routes[0]);
        assert_eq!(detours.ordered(routes.clone()), [via("http://two"), via("http://one"), Route::Direct]);
        detours.failed(&routes[1]);
        assert_eq!(detours.ordered(routes.clone()), routes);
        tokio::time::sleep(REST).await;
        assert_eq!(detours.ordered(routes.clone()), routes);
    }
}
