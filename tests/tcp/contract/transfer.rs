//! Bytes from one end to the other.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use super::net::TcpStream;
use super::pair::{let_others_wait, pair};
use super::{run, thread};
use crate::support::Random;

#[test]
fn what_is_written_is_read() {
    run(|| {
        let (mut client, mut server) = pair();
        for size in [1, 2, 100, 4_096, 100_000] {
            let bytes = Random::new(1).bytes(size);
            let mut received = vec![0; size];
            client.write_all(&bytes).unwrap();
            server.read_exact(&mut received).unwrap();
            assert!(received == bytes);
            server.write_all(&bytes).unwrap();
            received.fill(0);
            client.read_exact(&mut received).unwrap();
            assert!(received == bytes);
        }
        client.flush().unwrap();
    });
}

#[test]
fn read_waits_for_what_comes_later() {
    run(|| {
        let (mut client, mut server) = pair();
        let reader = thread::spawn(move || {
            let mut buf = [0; 100];
            let n = server.read(&mut buf).unwrap();
            buf[..n].to_vec()
        });
        let_others_wait();
        assert!(!reader.is_finished());
        client.write_all(b"later").unwrap();
        assert_eq!(reader.join().unwrap(), b"later");
    });
}

#[test]
fn ping_pong() {
    run(|| {
        let (mut client, mut server) = pair();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let echo = thread::spawn(move || {
            let mut byte = [0];
            while server.read(&mut byte).unwrap() == 1 {
                server.write_all(&byte).unwrap();
            }
        });
        let mut byte = [0];
        for i in 0..2_000_u32 {
            let sent = i.to_le_bytes()[0];
            client.write_all(&[sent]).unwrap();
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [sent]);
        }
        drop(client);
        echo.join().unwrap();
    });
}

/// A block, and how often it is sent: comparing slices is fast in a debug build, too.
const BLOCKS: usize = 64;

fn send_blocks(mut stream: impl Write, block: &[u8]) {
    for _ in 0..BLOCKS {
        stream.write_all(block).unwrap();
    }
}

fn receive_blocks(mut stream: impl Read, block: &[u8]) {
    let mut received = vec![0; block.len()];
    for _ in 0..BLOCKS {
        stream.read_exact(&mut received).unwrap();
        assert!(received == block);
    }
}

/// Much more than fits into the buffers of both sides, in both directions at once.
#[test]
fn sixty_four_megabytes_both_ways() {
    run(|| {
        let (client, server) = pair();
        let block: Arc<[u8]> = Random::new(2).bytes(1 << 20).into();
        let tasks: Vec<_> = [client, server]
            .into_iter()
            .flat_map(|stream| {
                let (writer, reader) = (Arc::new(stream), block.clone());
                let (same, block) = (Arc::clone(&writer), Arc::clone(&block));
                [
                    thread::spawn(move || send_blocks(&*writer, &reader)),
                    thread::spawn(move || receive_blocks(&*same, &block)),
                ]
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

#[test]
fn lists_of_buffers() {
    run(|| {
        let (mut client, mut server) = pair();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(client.write_vectored(&parts).unwrap(), 7);
        let (mut a, mut b, mut c) = ([0; 2], [0; 0], [0; 10]);
        let mut buffers = [
            IoSliceMut::new(&mut a),
            IoSliceMut::new(&mut b),
            IoSliceMut::new(&mut c),
        ];
        assert_eq!(server.read_vectored(&mut buffers).unwrap(), 7);
        assert_eq!((&a, &c[..5]), (b"on", &b"e two"[..]));
        // Nothing to do: neither direction waits.
        assert_eq!(client.write_vectored(&[]).unwrap(), 0);
        assert_eq!(client.write_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
        drop(client);
        let mut buffers = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut c)];
        assert_eq!(server.read_vectored(&mut buffers).unwrap(), 0);
    });
}

#[test]
fn empty_list_of_buffers_is_read_without_waiting() {
    run(|| {
        let (_client, mut server) = pair();
        assert_eq!(server.read_vectored(&mut []).unwrap(), 0);
        let mut nothing = [0; 0];
        assert_eq!(server.read_vectored(&mut [IoSliceMut::new(&mut nothing)]).unwrap(), 0);
    });
}

#[test]
fn read_into_lists_of_buffers_waits() {
    run(|| {
        let (mut client, mut server) = pair();
        let reader = thread::spawn(move || {
            let (mut a, mut b) = ([0; 3], [0; 3]);
            let n = server
                .read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)])
                .unwrap();
            (n, a, b)
        });
        let_others_wait();
        client.write_all(b"abcde").unwrap();
        assert_eq!(reader.join().unwrap(), (5, *b"abc", *b"de\0"));
    });
}

/// More than the kernel takes at once (`IOV_MAX`, 1024): the rest is for the next call.
#[test]
fn long_lists_of_buffers() {
    run(|| {
        let (mut client, mut server) = pair();
        let bytes = Random::new(3).bytes(3_000);
        let expected = bytes.clone();
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            while received.len() < 3_000 {
                let mut buffers = vec![[0; 1]; 2_000];
                let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                let n = server.read_vectored(&mut slices).unwrap();
                assert!(n > 0);
                received.extend(buffers[..n].iter().map(|buffer| buffer[0]));
            }
            assert!(received == expected);
        });
        let mut sent = 0;
        while sent < bytes.len() {
            let slices: Vec<_> = bytes[sent..].chunks(1).map(IoSlice::new).collect();
            let n = client.write_vectored(&slices).unwrap();
            assert!(0 < n && n <= slices.len());
            sent += n;
        }
        reader.join().unwrap();
    });
}

#[test]
fn peek_leaves_what_it_saw() {
    run(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"looked at").unwrap();
        let mut buf = [0; 100];
        for size in [4, 9, 100] {
            assert_eq!(server.peek(&mut buf[..size]).unwrap(), size.min(9));
            assert_eq!(buf[..4], b"looked at"[..4]);
        }
        assert_eq!(server.read(&mut buf[..6]).unwrap(), 6);
        // A peek that was not filled does not mean that there will be nothing to read.
        assert_eq!(server.peek(&mut buf).unwrap(), 3);
        assert_eq!(server.peek(&mut buf).unwrap(), 3);
        assert_eq!(server.read(&mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b" at");
        let peeker = thread::spawn(move || {
            let n = server.peek(&mut [0; 8]).unwrap();
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).unwrap();
            (n, rest, server.peek(&mut [0; 8]).unwrap())
        });
        let_others_wait();
        client.write_all(b"x").unwrap();
        drop(client);
        assert_eq!(peeker.join().unwrap(), (1, b"x".to_vec(), 0));
    });
}

#[test]
fn empty_buffers() {
    run(|| {
        let (mut client, mut server) = pair();
        assert_eq!(client.write(&[]).unwrap(), 0);
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        assert_eq!(server.peek(&mut byte).unwrap(), 1);
        assert_eq!(server.read(&mut []).unwrap(), 0);
        assert_eq!(server.peek(&mut []).unwrap(), 0);
        assert_eq!(server.read(&mut byte).unwrap(), 1);
    });
}

#[test]
fn one_end_is_read_and_written_at_the_same_time() {
    run(|| {
        let (client, server) = pair();
        let (client, server) = (Arc::new(client), Arc::new(server));
        let (there, back) = (Random::new(4).bytes(300_000), Random::new(5).bytes(300_000));
        let write = |stream: &Arc<TcpStream>, bytes: &[u8]| {
            let (stream, bytes) = (Arc::clone(stream), bytes.to_vec());
            thread::spawn(move || {
                for piece in bytes.chunks(1_000) {
                    (&*stream).write_all(piece).unwrap();
                    thread::yield_now();
                }
                stream.shutdown(Shutdown::Write).unwrap();
            })
        };
        let read = |stream: &Arc<TcpStream>| {
            let stream = Arc::clone(stream);
            thread::spawn(move || {
                let mut bytes = Vec::new();
                (&*stream).read_to_end(&mut bytes).unwrap();
                bytes
            })
        };
        let (received, returned) = (read(&server), read(&client));
        let writers = [write(&client, &there), write(&server, &back)];
        assert!(received.join().unwrap() == there);
        assert!(returned.join().unwrap() == back);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

#[test]
fn several_read_one_end_and_nothing_is_lost_or_doubled() {
    run(|| {
        const READERS: usize = 4;
        const COUNT: u32 = 50_000;
        let (mut client, server) = pair();
        let server = Arc::new(server);
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let server = Arc::clone(&server);
                thread::spawn(move || {
                    let (mut sum, mut count) = (0_u64, 0);
                    let mut buf = [0; 97];
                    loop {
                        match (&*server).read(&mut buf).unwrap() {
                            0 => return (sum, count),
                            n => {
                                sum += buf[..n].iter().map(|&byte| u64::from(byte)).sum::<u64>();
                                count += n;
                            }
                        }
                    }
                })
            })
            .collect();
        let_others_wait();
        let bytes = Random::new(6).bytes(COUNT as usize);
        for piece in bytes.chunks(1_234) {
            client.write_all(piece).unwrap();
            thread::yield_now();
        }
        drop(client);
        let (sums, counts): (Vec<u64>, Vec<usize>) = readers.into_iter().map(|reader| reader.join().unwrap()).unzip();
        assert_eq!(counts.iter().sum::<usize>(), bytes.len());
        assert_eq!(
            sums.iter().sum::<u64>(),
            bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>()
        );
    });
}

#[test]
fn several_write_one_end_and_nothing_is_lost_or_doubled() {
    run(|| {
        const WRITERS: u8 = 4;
        const EACH: usize = 200_000;
        let (client, mut server) = pair();
        let client = Arc::new(client);
        let writers: Vec<_> = (0..WRITERS)
            .map(|i| {
                let client = Arc::clone(&client);
                thread::spawn(move || (&*client).write_all(&[i; EACH]).unwrap())
            })
            .collect();
        let mut counts = [0; WRITERS as usize];
        let mut buf = [0; 10_000];
        for _ in 0.. {
            let n = server.read(&mut buf).unwrap();
            buf[..n].iter().for_each(|&byte| counts[usize::from(byte)] += 1);
            if counts.iter().sum::<usize>() == EACH * usize::from(WRITERS) {
                break;
            }
        }
        assert_eq!(counts, [EACH; WRITERS as usize]);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

#[test]
fn adaptors_of_the_standard_library() {
    run(|| {
        let (client, server) = pair();
        let writer = thread::spawn(move || {
            let mut writer = BufWriter::new(client);
            for i in 0..1_000 {
                writeln!(writer, "line {i}").unwrap();
            }
            writer.flush().unwrap();
            let mut stream = writer.into_inner().unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let mut reader = BufReader::new(server);
        for i in 0..1_000 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, format!("line {i}\n"));
        }
        assert_eq!(reader.read_line(&mut String::new()).unwrap(), 0);
        let mut stream = reader.into_inner();
        let copied = io::copy(&mut io::repeat(b'.').take(100_000), &mut stream).unwrap();
        drop(stream);
        assert_eq!((copied, writer.join().unwrap().len()), (100_000, 100_000));
    });
}

#[test]
fn end_in_the_middle_is_unexpected() {
    run(|| {
        let (mut client, mut server) = pair();
        client.write_all(b"half").unwrap();
        drop(client);
        let error = server.read_exact(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}
