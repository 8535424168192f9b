//! What is kept for every shape of picture, within a bound of bytes.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the C library is asked to give memory back")
)]

/// Bytes that are kept: some three sessions of a small model, each with its own copy of the weights.
const MOST_BYTES: usize = 128 << 20;
/// Larger models have room for so many sessions all the same: an integrator's cameras have few shapes, and to open one again and
/// again takes longer than to run it.
const FEW: usize = 3;

/// Values by key; of more than there is room for, the least recently used goes.
#[derive(Debug)]
pub struct ByShape<K, V> {
    /// Most recently used last, each with its bytes.
    kept: Vec<(K, V, usize)>,
}

impl<K, V> Default for ByShape<K, V> {
    fn default() -> Self {
        Self { kept: Vec::new() }
    }
}

impl<K: PartialEq, V> ByShape<K, V> {
    /// The value, which counts as used now.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let at = self.kept.iter().position(|(known, ..)| known == key)?;
        self.kept[at..].rotate_left(1);
        self.kept.last().map(|(_, value, _)| value)
    }

    /// Before one more value is made, about as large as the last: takes out those there will be no room for, to be dropped.
    pub fn make_room(&mut self) -> Vec<V> {
        let bytes = self.kept.last().map_or(0, |(.., bytes)| *bytes);
        let mut gone = Vec::new();
        while self.kept.len() >= FEW && self.kept.iter().map(|(.., bytes)| bytes).sum::<usize>() + bytes > MOST_BYTES {
            gone.push(self.kept.remove(0).1);
        }
        gone
    }

    /// Keeps the value, of about so many bytes.
    pub fn put(&mut self, key: K, value: V, bytes: usize) {
        self.kept.push((key, value, bytes));
    }
}

/// Drops what there is no room for, and gives its memory back.
pub fn give_up<V>(gone: Vec<V>) {
    if !gone.is_empty() {
        drop(gone);
        trim();
    }
}

/// Gives the system back what was freed. The C library keeps the memory of a session that is gone, in pieces that the next one, of other
/// sizes, does not fit into.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it only gives back pages that hold nothing.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_when_there_is_no_room() {
        let mut kept = ByShape::default();
        for key in 0..6 {
            assert!(kept.make_room().is_empty());
            kept.put(key, key, MOST_BYTES / 6);
            assert_eq!(kept.get(&0), Some(&0), "used all the time");
        }
        assert_eq!(kept.make_room(), [1]);
        kept.put(6, 6, MOST_BYTES / 6);
        let left: Vec<bool> = [1, 2, 6].iter().map(|key| kept.get(key).is_some()).collect();
        assert_eq!(left, [false, true, true]);
        for key in 10..20 {
            kept.make_room();
            kept.put(key, 0, MOST_BYTES);
        }
        assert_eq!(kept.kept.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), [17, 18, 19]);
    }
}
