//! The queue against a model that is lists and scans.

use proptest::prelude::*;

use super::*;

fn claim(host: u8, group: Option<u8>) -> Claim {
    Claim {
        url: format!("http://h{host}/").parse().unwrap(),
        group: group.map(|group| format!("g{group}").into()),
    }
}

/// A gate that is always open.
fn open<W>(_: &str, _: &W) -> Result<(), ()> {
    Ok(())
}

fn enter(queue: &mut Queue<u64>, claim: &Claim) -> bool {
    queue.enter(claim, |_| Ok::<(), ()>(())) == Entry::In(())
}

fn drain(queue: &mut Queue<u64>) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(Next::In { waiter, .. }) = queue.next(open) {
        all.push(waiter);
    }
    all
}

fn is_blank(queue: &Queue<u64>) -> bool {
    (queue.active, queue.waiting) == (0, 0)
        && queue.hosts.is_empty()
        && queue.groups.is_empty()
        && queue.ring.is_empty()
}

#[test]
fn origins_take_turns_and_within_one_priority_then_arrival_decide() {
    let mut queue = Queue::new(Some(1), None);
    let first = claim(0, None);
    assert!(enter(&mut queue, &first));
    for (host, priority, waiter) in [(1, 0, 10), (1, 0, 11), (1, 5, 12), (2, 0, 20), (3, -1, 30), (2, 0, 21)]
    {
        assert!(!enter(&mut queue, &claim(host, None)));
        queue.wait(&claim(host, None), priority, waiter);
    }
    assert!(drain(&mut queue).is_empty());
    let mut order = Vec::new();
    let mut last = first;
    while queue.waiting() > 0 {
        queue.leave(&last);
        let Some(Next::In { claim, waiter, .. }) = queue.next(open) else { panic!("there is room") };
        assert!(queue.next(open).is_none());
        order.push(waiter);
        last = claim;
    }
    assert_eq!(order, [12, 20, 30, 10, 21, 11]);
    queue.leave(&last);
    assert!(is_blank(&queue));
}

#[test]
fn a_full_group_does_not_block_its_host_nor_a_full_host_the_rest() {
    let mut queue = Queue::new(None, Some(2));
    queue.set(Scope::Group("g0"), Some(1));
    assert!(enter(&mut queue, &claim(0, Some(0))));
    assert!(!enter(&mut queue, &claim(0, Some(0))));
    queue.wait(&claim(0, Some(0)), 9, 1);
    assert!(enter(&mut queue, &claim(0, Some(1))), "another group, same host");
    assert!(!enter(&mut queue, &claim(0, None)), "the host is full");
    queue.wait(&claim(0, None), 0, 2);
    assert!(enter(&mut queue, &claim(1, None)), "another host");
    queue.leave(&claim(0, Some(1)));
    assert_eq!(drain(&mut queue), [2]);
    queue.leave(&claim(0, Some(0)));
    assert_eq!(drain(&mut queue), [1]);
}

#[derive(Clone, Debug)]
enum Act {
    Open {
        host: u8,
        group: Option<u8>,
        priority: i32,
    },
    Close(usize),
    Cancel(usize),
    Set(u8, u8, Option<usize>),
    /// The gate of a host.
    Shut(u8, bool),
    /// Those with an odd number leave a gate that is shut.
    Dismiss(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let open = (0u8..4, proptest::option::of(0u8..3), -1i32..2)
        .prop_map(|(host, group, priority)| Act::Open { host, group, priority });
    let set =
        (0u8..4, 0u8..4, proptest::option::of(0usize..4)).prop_map(|(kind, at, n)| Act::Set(kind, at, n));
    let act = prop_oneof![6 => open, 3 => any::<usize>().prop_map(Act::Close),
        2 => any::<usize>().prop_map(Act::Cancel), 1 => set,
        2 => (0u8..4, any::<bool>()).prop_map(|(host, shut)| Act::Shut(host, shut)),
        1 => (0u8..4).prop_map(Act::Dismiss)];
    proptest::collection::vec(act, 0..120)
}

/// What it should do, said plainly: lists and scans.
#[derive(Default)]
struct Model {
    global: Option<usize>,
    per_host: Option<usize>,
    hosts: HashMap<u8, usize>,
    groups: HashMap<u8, usize>,
    shut: std::collections::HashSet<u8>,
    open: Vec<(u8, Option<u8>)>,
    waiting: Vec<(u64, u8, Option<u8>, Place)>,
}

impl Model {
    fn has_room(&self, host: u8, group: Option<u8>) -> bool {
        let of_host = self.open.iter().filter(|open| open.0 == host).count();
        let of_group = self.open.iter().filter(|open| open.1 == group).count();
        below(self.open.len(), self.global)
            && below(of_host, self.hosts.get(&host).copied().or(self.per_host))
            && group.is_none_or(|group| below(of_group, self.groups.get(&group).copied()))
    }

    fn may_open(&self, host: u8, group: Option<u8>) -> bool {
        self.has_room(host, group) && !self.shut.contains(&host)
    }

    fn let_in(&mut self, waiter: u64) -> Result<(), TestCaseError> {
        let index = self.waiting.iter().position(|waiting| waiting.0 == waiter).unwrap();
        let (_, host, group, place) = self.waiting.remove(index);
        prop_assert!(self.may_open(host, group), "a limit was passed");
        let better = self.waiting.iter().find(|w| w.1 == host && w.3 < place && self.may_open(host, w.2));
        prop_assert!(better.is_none(), "{better:?} should have gone before");
        self.open.push((host, group));
        Ok(())
    }

    fn is_shut(&self, origin: &str) -> Result<(), ()> {
        let host = origin.strip_prefix("http://h").and_then(|rest| rest.strip_suffix(":80")).unwrap();
        if self.shut.contains(&host.parse().unwrap()) { Err(()) } else { Ok(()) }
    }
}

proptest! {
    #[test]
    fn limits_and_gates_hold_nobody_waits_in_vain_and_nothing_is_left_behind(acts in acts()) {
        let mut queue = Queue::new(None, None);
        let mut model = Model::default();
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Open { host, group, priority } => {
                    let shut = model.shut.contains(&host);
                    let behind = queue.hosts.get(format!("http://h{host}:80").as_str()).is_some_and(|h| h.shut);
                    let entry = queue.enter(&claim(host, group), |origin| model.is_shut(origin));
                    prop_assert_eq!(entry == Entry::Full, !model.has_room(host, group));
                    prop_assert_eq!(entry == Entry::Shut(()), model.has_room(host, group) && !behind && shut);
                    prop_assert!(!behind || entry != Entry::In(()), "those go first who wait for the gate");
                    if entry == Entry::In(()) {
                        model.open.push((host, group));
                    } else {
                        let place = queue.wait(&claim(host, group), priority, number as u64);
                        model.waiting.push((number as u64, host, group, place));
                    }
                }
                Act::Close(at) if !model.open.is_empty() => {
                    let (host, group) = model.open.swap_remove(at % model.open.len());
                    queue.leave(&claim(host, group));
                }
                Act::Cancel(at) if !model.waiting.is_empty() => {
                    let (_, host, group, place) = model.waiting.remove(at % model.waiting.len());
                    prop_assert!(queue.cancel(&claim(host, group), place));
                    prop_assert!(!queue.cancel(&claim(host, group), place));
                }
                Act::Set(0, _, limit) => {
                    model.global = limit;
                    queue.set(Scope::Global, limit);
                }
                Act::Set(1, _, limit) => {
                    model.per_host = limit;
                    queue.set(Scope::PerHost, limit);
                }
                Act::Set(2, at, limit) => {
                    model.hosts.remove(&at);
                    model.hosts.extend(limit.map(|limit| (at, limit)));
                    queue.set(Scope::Host(&format!("http://h{at}:80")), limit);
                }
                Act::Set(_, at, limit) => {
                    model.groups.remove(&at);
                    model.groups.extend(limit.map(|limit| (at, limit)));
                    queue.set(Scope::Group(&format!("g{at}")), limit);
                }
                Act::Shut(host, true) => drop(model.shut.insert(host)),
                Act::Shut(host, false) => {
                    model.shut.remove(&host);
                    queue.look(&claim(host, None));
                }
                Act::Dismiss(host) => {
                    let mut dismissed = queue.dismiss(&claim(host, None), |waiter| waiter % 2 == 1);
                    let odd = |waiting: &(u64, u8, Option<u8>, Place)| waiting.1 == host && waiting.0 % 2 == 1;
                    let mut expected: Vec<u64> = model.waiting.extract_if(.., |w| odd(w)).map(|w| w.0).collect();
                    dismissed.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(dismissed, expected);
                    queue.look(&claim(host, None));
                }
                Act::Close(_) | Act::Cancel(_) => {}
            }
            while let Some(next) = queue.next(|origin, _| model.is_shut(origin)) {
                match next {
                    Next::In { waiter, .. } => model.let_in(waiter)?,
                    Next::Shut { at, .. } => prop_assert!(queue.first(&at).is_some(), "somebody can watch it"),
                }
            }
            prop_assert_eq!((queue.active(), queue.waiting()), (model.open.len(), model.waiting.len()));
            let starved = model.waiting.iter().find(|waiting| model.may_open(waiting.1, waiting.2));
            prop_assert!(starved.is_none(), "{starved:?} could be let in");
            prop_assert!(queue.ring.len() <= queue.hosts.len());
            for host in 0..4 {
                let waiting = model.waiting.iter().filter(|waiting| waiting.1 == host).count();
                prop_assert_eq!(queue.waiting_at(&format!("http://h{host}:80")), waiting);
            }
        }
        for (_, host, group, place) in model.waiting {
            queue.cancel(&claim(host, group), place);
        }
        for (host, group) in model.open {
            queue.leave(&claim(host, group));
        }
        prop_assert!(is_blank(&queue));
    }
}
