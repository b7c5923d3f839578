use greenloom::greenlet::*;
use greenloom::*;
use std::time::*;
fn main() {
    let what = std::env::args().nth(1).unwrap_or("ysw".into());
    if what.contains('y') {
        let n = 30_000_000u64;
        let ts: Vec<_> = (0..10)
            .map(|_| {
                spawn(move || {
                    for _ in 0..n / 10 {
                        yield_now()
                    }
                })
            })
            .collect();
        let t = Instant::now();
        for t in ts {
            t.wait().unwrap()
        }
        println!("yield {:.1}", t.elapsed().as_nanos() as f64 / n as f64);
    }
    if what.contains('s') {
        let n = 5_000_000;
        let t = Instant::now();
        for i in 0..n {
            assert_eq!(spawn(move || i).wait().unwrap(), i);
        }
        println!("spawn+wait {:.1}", t.elapsed().as_nanos() as f64 / n as f64);
    }
    if what.contains('w') {
        let n = 50_000_000u64;
        let main = Current::<u64>::here();
        let r = main.receiver();
        let a = Greenlet::new(&main, move |me: &Current<u64>, mut v| {
            loop {
                v = me.switch(&r, v + 1)?;
                if v == 0 {
                    return Ok(0);
                }
            }
        });
        let t = Instant::now();
        let mut v = 1;
        for _ in 0..n / 2 {
            v = main.switch(&a, v).unwrap();
        }
        println!("switch {:.1} {v}", t.elapsed().as_nanos() as f64 / n as f64);
        main.switch(&a, 0).unwrap();
    }
    if what.contains('m') {
        let t = Instant::now();
        let n = 1_000_000;
        for _ in 0..n {
            Builder::new().stack_size(65536).spawn(|| sleep(Duration::from_secs(60))).unwrap();
        }
        println!("spawned {:?}", t.elapsed());
        yield_now();
        sleep(Duration::from_millis(1));
        println!("sleeping {:?}", t.elapsed());
        let s = std::fs::read_to_string("/proc/self/status").unwrap();
        for l in s.lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("VmPTE")) {
            println!("{l}");
        }
        println!("{:?}", get_hub());
    }
}
