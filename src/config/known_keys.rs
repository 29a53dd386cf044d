//! Which keys a section has, and which one a misspelt key was meant to be.

/// The keys of one kind of section. The loader refuses what is not in here, and the reference page is printed from it.
#[derive(Debug)]
pub struct KeyTable {
    /// Where the section stands: `promxy.server_groups[]`.
    pub title: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Keys that have an effect.
    pub keys: &'static [Key],
    /// Keys of promxy and Prometheus that would have an effect but have none yet, with what to do instead (or nothing).
    /// Using one is an error: leaving it out silently could change answers.
    pub not_built: &'static [(&'static str, &'static str)],
    /// Keys that are accepted with a warning, and why they do nothing.
    pub inert: &'static [(&'static str, &'static str)],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is written in the file.
    pub name: &'static str,
    /// What its value is: `duration`, `true or false`, `text`, a section.
    pub form: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does, when to set it, what it costs.
    pub about: &'static str,
    /// The key with a value, as it could stand in a file.
    pub example: &'static str,
}

/// What a key is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// It has an effect.
    Known,
    /// It has no effect yet; what to do instead.
    NotBuilt(&'static str),
    /// It has no effect here, and why.
    Inert(&'static str),
}

impl KeyTable {
    /// What this key is in this section; None if there is no such key.
    pub fn state(&self, name: &str) -> Option<KeyState> {
        if self.keys.iter().any(|key| key.name == name) {
            return Some(KeyState::Known);
        }
        let find = |list: &'static [(&'static str, &'static str)]| {
            list.iter().find(|(own, _)| *own == name).map(|(_, hint)| *hint)
        };
        find(self.not_built).map(KeyState::NotBuilt).or_else(|| find(self.inert).map(KeyState::Inert))
    }

    /// The key of this section that was probably meant.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let built = self.keys.iter().map(|key| key.name);
        let others = self.not_built.iter().chain(self.inert).map(|(own, _)| *own);
        let wanted = fold(name);
        // A name may be wrong in a third of its letters; more is another word.
        let distance_max = (wanted.len() / 3).max(1);
        built
            .chain(others)
            .map(|own| (edit_distance(&wanted, &fold(own)), own))
            .filter(|(distance, _)| *distance <= distance_max)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, own)| own)
    }
}

/// Longest name that is compared; a longer one is not a misspelling of anything we have.
const NAME_CHARS_MAX: usize = 64;

/// Capitals and hyphens are the most common slips, so they cost nothing.
fn fold(name: &str) -> Vec<char> {
    name.chars()
        .take(NAME_CHARS_MAX)
        .map(|letter| if letter == '-' { '_' } else { letter.to_ascii_lowercase() })
        .collect()
}

/// Letters to insert, drop, replace or swap with their neighbour: the optimal string alignment distance.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_slips_of_the_finger() {
        for (a, b, distance) in
            [("", "", 0), ("", "ab", 2), ("timeout", "tiemout", 1), ("timeout", "timout", 1), ("abc", "xyz", 3)]
        {
            assert_eq!(edit_distance(&fold(a), &fold(b)), distance, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_key_is_a_misspelling_away_or_there_is_none() {
        let table = KeyTable {
            title: "x",
            about: "",
            keys: &[
                Key { name: "timeout", form: "", default: "", about: "", example: "" },
                Key { name: "anti_affinity", form: "", default: "", about: "", example: "" },
                Key { name: "ca", form: "", default: "", about: "", example: "" },
            ],
            not_built: &[("file_sd_configs", "")],
            inert: &[],
        };
        for (name, nearest) in [
            ("tiemout", Some("timeout")),
            ("Anti-Affinity", Some("anti_affinity")),
            ("antiaffinity", Some("anti_affinity")),
            ("file_sd_config", Some("file_sd_configs")),
            ("cb", Some("ca")),
            ("xy", None),
            ("", None),
            ("whatever", None),
        ] {
            assert_eq!(table.nearest(name), nearest, "{name}");
        }
        assert_eq!(table.nearest(&"x".repeat(1_000_000)), None);
    }
}
