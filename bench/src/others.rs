//! How much of the machine everybody else used while something was measured: other programs, and a virtual machine's
//! host.
//!
//! The kernel counts the time in which its cores were not idle; what this process and its children used of it is ours,
//! the rest is others'. Both are counted in ticks of about 10 ms, so a share of a few percent means nothing.
//!
//! All cores are watched, even where a figure needs only one: two cores of a virtual machine may be two threads of one
//! real core, and then a busy one slows the other by half.

use std::{env, fs, io, path::Path, time::Instant};

use rustix::param::clock_ticks_per_second;

/// Runs while something is measured.
pub struct Meter {
    start: Instant,
    others: u64,
}

impl Meter {
    pub fn start() -> io::Result<Self> {
        Ok(Self { start: Instant::now(), others: others_ticks()? })
    }

    /// How many cores others used since then, on average. Children count as ours once they have been waited for.
    pub fn cores(&self) -> io::Result<f64> {
        let ticks = others_ticks()?.saturating_sub(self.others) as f64;
        Ok(ticks / clock_ticks_per_second() as f64 / self.start.elapsed().as_secs_f64())
    }
}

fn others_ticks() -> io::Result<u64> {
    Ok(machine_ticks(&fs::read_to_string("/proc/stat")?)?
        .saturating_sub(own_ticks(&fs::read_to_string("/proc/self/stat")?)?)
        .saturating_sub(broker_ticks()?))
}

/// A broker that was started for this run works for what is measured, so it is none of the others.
fn broker_ticks() -> io::Result<u64> {
    let Some(folder) = env::var_os("GREENLOOM_RABBITMQ") else { return Ok(0) };
    let pid = fs::read_to_string(Path::new(&folder).join("pid"))?;
    own_ticks(&fs::read_to_string(format!("/proc/{}/stat", pid.trim()))?)
}

/// The line `cpu user nice system idle iowait irq softirq steal ...`, without the two idle ones.
fn machine_ticks(stat: &str) -> io::Result<u64> {
    let all = numbers(stat.lines().next().unwrap_or_default(), 1..=8)?;
    Ok([0, 1, 2, 5, 6, 7].into_iter().map(|field| all[field]).sum())
}

/// The fields utime, stime, cutime and cstime, counted from the command's name, which may hold spaces.
fn own_ticks(stat: &str) -> io::Result<u64> {
    let (_, fields) = stat.rsplit_once(')').ok_or_else(unreadable)?;
    Ok(numbers(fields, 11..=14)?.into_iter().sum())
}

fn numbers(line: &str, fields: std::ops::RangeInclusive<usize>) -> io::Result<Vec<u64>> {
    let count = fields.clone().count();
    let numbers = line.split_whitespace().skip(*fields.start()).take(count).map(str::parse);
    numbers.collect::<Result<Vec<_>, _>>().ok().filter(|numbers| numbers.len() == count).ok_or_else(unreadable)
}

fn unreadable() -> io::Error {
    io::Error::other("the kernel's statistics are not as expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_counted_and_guests_are_not_counted_twice() {
        assert_eq!(machine_ticks("cpu  1 20 300 9999 9999 4000 50000 600000 7 7\ncpu0 1 1 1").unwrap(), 654_321);
        assert!(machine_ticks("cpu 1 2 3").is_err());
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        assert_eq!(own_ticks("42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 1000 200 30 4 20 0").unwrap(), 1234);
    }
}
