//! Items key by key: a counting sort that keeps the items of a key as they stand.

/// Puts items into `count` places, those of one place as they stand: where each place begins, and the items.
pub(crate) fn sort_by_place(places: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut offsets = vec![0_u32; count + 1];
    for &place in places {
        offsets[place as usize + 1] += 1;
    }
    for place in 0..count {
        offsets[place + 1] += offsets[place];
    }
    let mut next = offsets.clone();
    let mut items = vec![0_u32; places.len()];
    for (item, &place) in places.iter().enumerate() {
        let at = &mut next[place as usize];
        items[*at as usize] = item as u32;
        *at += 1;
    }
    (offsets, items)
}
