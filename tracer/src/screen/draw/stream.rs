//! The stream: a line an event, the newest first. Only what is seen is made into text.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use tracer_common::conn::OwnerSource;

use super::{
    line::{cut_name, pad, part, put, rule},
    number::{count, time_of_day},
    theme::Theme,
};
use crate::{
    event::{Ends, Event},
    screen::{
        layout::STREAM_HEAD,
        state::{Focus, Kinds, State, name},
    },
    sink::lines,
};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    title(buffer, area, state, theme);
    let events = state.events().skip(state.view.scrolled);
    let mut is_empty = true;
    for (event, y) in events.zip(area.y + STREAM_HEAD..area.bottom()) {
        is_empty = false;
        put(
            buffer,
            area.x,
            y,
            &line(event, area.width.into(), theme),
            area.width,
        );
    }
    if is_empty && area.height > STREAM_HEAD {
        let text = Line::styled("no events", theme.faint());
        put(buffer, area.x, area.y + STREAM_HEAD, &text, area.width);
    }
}

fn title(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let style = if state.view.focus == Focus::Stream {
        theme.selected()
    } else {
        theme.strong()
    };
    let mut title = vec![part("stream", style)];
    match state.stream.paused() {
        None => title.push(part(" newest first, times in UTC", theme.faint())),
        Some(newer) => {
            let text = format!("  paused, {} newer; p goes on", count(newer));
            title.push(part(text, theme.doubtful()));
        }
    }
    let left_out = state.stream.left_out();
    if left_out > 0 {
        let text = format!("  {} came too fast to show", count(left_out));
        title.push(part(text, theme.doubtful()));
    }
    let hidden: Vec<_> = state.view.kinds.hidden().collect();
    if !hidden.is_empty() {
        let shown = Kinds::NAMES.len() - hidden.len();
        let text = if hidden.len() > shown {
            format!("  {shown} of {} kinds", Kinds::NAMES.len())
        } else {
            format!("  without {}", hidden.join(", "))
        };
        title.push(part(text, theme.notice()));
    }
    rule(buffer, area, title, theme);
}

/// An event as a line of so many letters.
pub(super) fn line(event: &Event, width: usize, theme: &Theme) -> Line<'static> {
    let kind = event.detail.kind();
    let style = theme.kind(kind);
    let who = match &event.owner {
        Some(owner) => format!("{}[{}]", name(owner), owner.pid),
        None => "-".to_owned(),
    };
    let is_wide = width >= 120;
    let (kind_width, who_width, ends_width) = if is_wide {
        (18, 22, if width >= 150 { 45 } else { 34 })
    } else {
        (14, 16, 20)
    };
    let ends = ends(event, is_wide, theme);
    let mut detail = String::new();
    lines::detail(&mut detail, &event.detail);
    Line::from(vec![
        part(time_of_day(event.ts), theme.faint()),
        Span::raw(" "),
        part(pad(kind, kind_width, theme), style),
        Span::raw(" "),
        Span::raw(pad(&cut_name(&who, who_width, theme), who_width, theme)),
        Span::raw(" "),
        Span::raw(if ends.is_empty() && !is_wide {
            String::new()
        } else {
            pad(&ends, ends_width, theme) + " "
        }),
        part(detail, style),
    ])
}

/// Both ends where there is room; else the other one, with our port where the other side connected.
fn ends(event: &Event, is_wide: bool, theme: &Theme) -> String {
    let Some(Ends { local, remote }) = event.ends else {
        return String::new();
    };
    let is_passive = matches!(
        event.owner_source,
        OwnerSource::Accept | OwnerSource::Inherited | OwnerSource::Listen
    );
    let sign = if is_passive {
        theme.signs.from
    } else {
        theme.signs.to
    };
    match remote {
        Some(remote) if is_wide => format!("{local} {sign} {remote}"),
        Some(remote) if is_passive => format!(":{} {sign} {}", local.port(), remote.ip()),
        Some(remote) => format!("{sign} {remote}"),
        None => local.to_string(),
    }
}
