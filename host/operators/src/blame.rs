//! Finds the rows that make a guest fail: a batch is halved until single rows are left.
//!
//! A row is at fault when a call with it alone fails, so what is found does not depend on how rows were cut into batches.
//! With b rows at fault among n it takes no more than 2 b log2(n) + 1 calls.

use wasmill_core::fault::{Fault, GuestFault};
use wasmill_core::transform::Reject;

/// What to do when a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The fault is the caller's.
    Whole,
    /// Rows at fault are looked for.
    Blame,
}

/// The results of the calls that went well, and the rows at fault.
pub(crate) type Blamed<T> = (Vec<T>, Vec<(GuestFault, Reject)>);

/// Calls `call` with all of `rows` rows (`None`), and with fewer of them where that fails. `renumber` is given each result
/// of a call with fewer rows, and those rows.
pub(crate) fn blame<T>(
    rows: usize,
    attempt: Attempt,
    mut call: impl FnMut(Option<&[u32]>) -> Result<T, Fault>,
    mut renumber: impl FnMut(&mut T, &[u32]),
) -> Result<Blamed<T>, Fault> {
    let fault = match call(None) {
        Ok(done) => return Ok((vec![done], Vec::new())),
        Err(fault) => fault,
    };
    if attempt == Attempt::Whole || blamable(&fault).is_none() {
        return Err(fault);
    }
    let all: Vec<u32> = (0..rows as u32).collect();
    let mut done = Vec::new();
    let mut at_fault = Vec::new();
    // Ranges whose rows are known to fail together, or not tried yet; the first rows on top.
    let mut open = vec![(0, rows, Some(fault))];
    while let Some((from, to, known)) = open.pop() {
        let range = &all[from..to];
        let fault = match known {
            Some(fault) => fault,
            None => match call(Some(range)) {
                Ok(mut result) => {
                    renumber(&mut result, range);
                    done.push(result);
                    continue;
                }
                Err(fault) => fault,
            },
        };
        let Some(kind) = blamable(&fault) else {
            return Err(fault);
        };
        match range {
            [] => return Err(fault),
            &[row] => at_fault.push((
                kind,
                Reject {
                    row,
                    message: fault.message,
                },
            )),
            _ => {
                let middle = from + range.len() / 2;
                open.push((middle, to, None));
                open.push((from, middle, None));
            }
        }
    }
    Ok((done, at_fault))
}

/// How the guest failed, where that may be put down to rows.
fn blamable(fault: &Fault) -> Option<GuestFault> {
    let kind = fault.guest.as_ref()?.kind;
    kind.may_blame_rows().then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmill_core::fault::{Domain, GuestDetail};

    fn fault(kind: GuestFault) -> Fault {
        let mut fault = Fault::fatal(Domain::User, "no");
        fault.guest = Some(Box::new(GuestDetail {
            kind,
            plugin: "p.wasm".into(),
            function: "process",
            row: None,
            rows: 1,
            backtrace: Vec::new(),
        }));
        fault
    }

    proptest! {
        #[test]
        fn exactly_the_rows_at_fault_are_found_in_few_calls(rows in 1..300_usize, bad in proptest::collection::btree_set(0..300_u32, 0..5)) {
            let bad: Vec<u32> = bad.into_iter().filter(|&row| (row as usize) < rows).collect();
            let mut calls = 0;
            let all: Vec<u32> = (0..rows as u32).collect();
            let call = |range: Option<&[u32]>| {
                calls += 1;
                let range = range.unwrap_or(&all);
                if range.iter().any(|row| bad.contains(row)) {
                    Err(fault(GuestFault::Trap))
                } else {
                    Ok((0..range.len() as u32).collect::<Vec<_>>())
                }
            };
            let (done, at_fault) = blame(rows, Attempt::Blame, call, |result, range| result.copy_from_slice(range)).expect("blamed");
            let found: Vec<u32> = at_fault.iter().map(|f| f.1.row).collect();
            prop_assert_eq!(&found, &bad);
            let good: Vec<u32> = done.concat();
            let expect: Vec<u32> = all.iter().copied().filter(|row| !bad.contains(row)).collect();
            prop_assert_eq!(good, expect);
            prop_assert!(calls <= 2 * bad.len() * (rows.ilog2() as usize + 1) + 1);
        }
    }

    #[test]
    fn a_deadline_is_never_put_down_to_rows() {
        let call = |_: Option<&[u32]>| -> Result<(), Fault> { Err(fault(GuestFault::Deadline)) };
        assert_eq!(
            blame(4, Attempt::Blame, call, |(), _| {}),
            Err(fault(GuestFault::Deadline))
        );
    }

    #[test]
    fn rows_that_fail_only_together_are_not_at_fault() {
        let call = |range: Option<&[u32]>| match range.map(<[u32]>::len) {
            Some(1 | 2) => Ok(()),
            _ => Err(fault(GuestFault::Memory)),
        };
        let (done, at_fault) = blame(8, Attempt::Blame, call, |(), _| {}).expect("halved");
        assert_eq!((done.len(), at_fault.len()), (4, 0));
    }
}
