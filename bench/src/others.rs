//! How much of the machine everybody else used while something was measured: other programs, and a virtual machine's host.
//!
//! The kernel counts the time in which its cores were not idle; what this process and its children used of it is ours, the rest is
//! others'. Both are counted in ticks of about 10 ms, so a share of a few percent means nothing.

use std::{fs, io, time::Instant};

use rustix::param::clock_ticks_per_second;

/// Runs while something is measured.
pub struct Meter {
    cores: &'static [usize],
    start: Instant,
    others: u64,
}

impl Meter {
    /// Watches these cores, to which this process's children keep.
    pub fn start(cores: &'static [usize]) -> io::Result<Self> {
        Ok(Self { cores, start: Instant::now(), others: others_ticks(cores)? })
    }

    /// How many cores others used since then, on average. Children count as ours once they have been waited for.
    pub fn cores(&self) -> io::Result<f64> {
        let ticks = others_ticks(self.cores)?.saturating_sub(self.others) as f64;
        Ok(ticks / clock_ticks_per_second() as f64 / self.start.elapsed().as_secs_f64())
    }
}

fn others_ticks(cores: &[usize]) -> io::Result<u64> {
    let all = busy_ticks(&fs::read_to_string("/proc/stat")?, cores)?;
    Ok(all.saturating_sub(own_ticks(&fs::read_to_string("/proc/self/stat")?)?))
}

/// The lines `cpuN user nice system idle iowait irq softirq steal ...` of these cores, without the two idle fields.
fn busy_ticks(stat: &str, cores: &[usize]) -> io::Result<u64> {
    let mut sum = 0;
    for core in cores {
        let name = format!("cpu{core} ");
        let line = stat.lines().find(|line| line.starts_with(&name)).ok_or_else(unreadable)?;
        let all = numbers(line, 1..=8)?;
        sum += [0, 1, 2, 5, 6, 7].into_iter().map(|field| all[field]).sum::<u64>();
    }
    Ok(sum)
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
        let stat = "cpu  9 9 9\ncpu0 5 5 5\ncpu1 1 20 300 9999 9999 4000 50000 600000 7 7\ncpu10 8 8";
        assert_eq!(busy_ticks(stat, &[1]).unwrap(), 654_321);
        assert!(busy_ticks(stat, &[0]).is_err(), "it has too few fields");
        assert!(busy_ticks(stat, &[2]).is_err(), "there is no such core");
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        assert_eq!(own_ticks("42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 1000 200 30 4 20 0").unwrap(), 1234);
    }
}
