//! Reads server-sent events (the WHATWG standard) out of the pieces in which they arrive.

/// The longest event that is read, in bytes. A line of output is much shorter.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    /// Its id, for `Last-Event-ID`; the id of an earlier event if it has none of its own.
    pub(crate) id: Option<String>,
    /// Its data: the lines of `data:`, joined.
    pub(crate) data: String,
}

/// An event is longer than 16 MiB.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// A reader of a stream of events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The bytes of the line that has not ended yet.
    line: Vec<u8>,
    /// `true` if the last byte was a carriage return that ended a line.
    after_return: bool,
    data: Option<String>,
    id: Option<String>,
}

impl Parser {
    /// Reads a piece of the stream. Returns the events that are whole now.
    pub(crate) fn read(&mut self, piece: &[u8]) -> Result<Vec<ServerEvent>, TooLong> {
        let mut events = Vec::new();
        for byte in piece {
            let is_end_of_pair = *byte == b'\n' && std::mem::take(&mut self.after_return);
            self.after_return = *byte == b'\r';
            match byte {
                b'\n' if is_end_of_pair => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > MAX_EVENT {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str) -> Option<ServerEvent> {
        if line.is_empty() {
            return self.data.take().map(|data| ServerEvent { id: self.id.clone(), data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments, which keep the connection alive, and fields of later versions.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, data: &str) -> ServerEvent {
        ServerEvent { id: Some(id.to_owned()), data: data.to_owned() }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut_into_pieces() {
        let stream = ": hello\n\nid: 1-1\ndata: {\"a\":\"ö\"}\n\nid:1-2\r\nretry: 5\r\ndata: b\r\ndata: c\r\n\r\n\
                      :keep-alive\n\ndata: no id\n\nid: 1-4\ndata\n\ndata: not ended";
        let all =
            [event("1-1", "{\"a\":\"ö\"}"), event("1-2", "b\nc"), event("1-2", "no id"), event("1-4", "")];
        for size in 1..=stream.len() {
            let mut parser = Parser::default();
            let events: Vec<_> =
                stream.as_bytes().chunks(size).flat_map(|piece| parser.read(piece).unwrap()).collect();
            assert_eq!(events, all, "in pieces of {size}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_replaced_and_an_endless_line_is_refused() {
        let events = Parser::default().read(b"data: \xff\n\n").unwrap();
        assert_eq!(events, [ServerEvent { id: None, data: "\u{fffd}".to_owned() }]);
        assert_eq!(Parser::default().read(&vec![b'a'; MAX_EVENT + 1]), Err(TooLong));
    }
}
