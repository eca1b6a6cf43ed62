//! What the server answers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::io::Sleep;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// The longest count that is given, and how long it takes from one line to the next.
const LONGEST: u32 = 1_000_000;
const PAUSE: Duration = Duration::from_millis(1);

/// `GET /`, `GET /count/N`, `POST /echo`.
pub(crate) async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let reads = method == Method::GET || method == Method::HEAD;
    Ok(match &*path {
        "/" if reads => text(StatusCode::OK, "hello from hyper on kapok\n"),
        "/" => refused("GET, HEAD"),
        // Sent back as it comes, so it may be of any length.
        "/echo" if method == Method::POST => Response::new(request.into_body().boxed()),
        "/echo" => refused("POST"),
        _ => match count(&path) {
            Some(count) if reads => Response::new(Count::new(count).map_err(|never| match never {}).boxed()),
            Some(_) => refused("GET, HEAD"),
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        },
    })
}

fn count(path: &str) -> Option<u32> {
    path.strip_prefix("/count/")?
        .parse()
        .ok()
        .filter(|&count| count <= LONGEST)
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut answer = Response::new(body.map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

fn refused(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The lines from 1 to a number, each sent by itself, a moment after the one before.
struct Count {
    next: u32,
    last: u32,
    pause: Option<Sleep>,
}

impl Count {
    fn new(last: u32) -> Count {
        Count {
            next: 1,
            last,
            pause: None,
        }
    }
}

impl Body for Count {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(Pin::new(pause).poll(context));
        }
        if self.next > self.last {
            return Poll::Ready(None);
        }
        let line = format!("{}\n", self.next);
        self.next += 1;
        self.pause = (self.next <= self.last).then(|| Sleep::until(Instant::now() + PAUSE));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(line)))))
    }

    fn is_end_stream(&self) -> bool {
        self.next > self.last
    }
}
