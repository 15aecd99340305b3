//! Commands about people: own identities, contacts, safety numbers, and requests of strangers.

use qasedak_chain::Time;
use qasedak_wallet::display::safe_text;
use qrcode::render::unicode::Dense1x2;

use super::{
    Context,
    args::{ContactCommand, RequestCommand},
    client::Client,
    messages::message_text,
};
use crate::{
    api::types::{
        Blocked, Blocking, Contact, ContactChange, Declined, Identity, Inbox, NewContact, NewIdentity, Unheard,
        Verification, Verify,
    },
    failure::{Failure, Outcome},
};

pub(super) fn id(context: &Context, client: &Client, qr: bool, new: Option<String>) -> Outcome {
    if let Some(name) = new {
        let made: Identity = client.post("/v1/identities", &NewIdentity { name })?;
        return context.output.show(&made, |made| made.address.clone());
    }
    let identity: Identity = client.get("/v1/identity")?;
    let all: Vec<Identity> = client.get("/v1/identities")?;
    context.output.show(&identity, |identity| {
        let others = all.iter().skip(1).map(|own| format!("\n{}  {}", own.address, safe_text(&own.name)));
        others.fold(identity.address.clone(), |text, other| text + &other)
    })?;
    if qr && !context.output.is_json() {
        // Upper case fits QR's denser alphanumeric mode, and reads as the same address.
        context.output.line(&drawn(&identity.address.to_uppercase())?)?;
    }
    Ok(())
}

/// A QR code for a terminal.
fn drawn(text: &str) -> Outcome<String> {
    let code = qrcode::QrCode::new(text)
        .map_err(|error| Failure::failed(format!("cannot draw it: {error}; copy it as text")))?;
    // Terminals are mostly dark: their foreground is the code's light colour.
    Ok(code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build())
}

pub(super) fn contact(context: &Context, client: &Client, command: ContactCommand) -> Outcome {
    match command {
        ContactCommand::Add { name, address } => {
            let added: Contact = client.post("/v1/contacts", &NewContact { name, address })?;
            context.output.show(&added, |added| format!("{} is {}", safe_text(&added.name), added.address))
        }
        ContactCommand::List { blocked: true } => blocked(context, client),
        ContactCommand::List { blocked: false } => {
            let contacts: Vec<Contact> = client.get("/v1/contacts")?;
            context.output.show(&contacts, |contacts| match contacts.as_slice() {
                [] => "no contacts yet; add one with: qasedak contact add NAME ADDRESS".to_owned(),
                contacts => contacts.iter().map(|contact| contact_line(context, contact)).collect(),
            })
        }
        ContactCommand::Remove { name } => {
            let removed: Contact = client.delete("/v1/contacts", &name)?;
            context.output.show(&removed, |removed| format!("{} is forgotten", safe_text(&removed.name)))
        }
        ContactCommand::Verify { name, number } => verify(context, client, name, &number.concat()),
        ContactCommand::Change { name, address } => change(context, client, &name, &ContactChange::Address(address)),
        ContactCommand::Receipts { name, switch } => change(context, client, &name, &ContactChange::Receipts(switch)),
        ContactCommand::Identity { name, identity } => {
            change(context, client, &name, &ContactChange::Identity(identity))
        }
        ContactCommand::Block { who } => block(context, client, who, true),
        ContactCommand::Unblock { who } => block(context, client, who, false),
    }
}

fn change(context: &Context, client: &Client, name: &str, change: &ContactChange) -> Outcome {
    let changed: Contact = client.patch("/v1/contacts", name, change)?;
    context.output.show(&changed, |changed| contact_line(context, changed))
}

fn verify(context: &Context, client: &Client, name: String, typed: &str) -> Outcome {
    let number = (!typed.is_empty()).then(|| typed.to_owned());
    let found: Verification = client.post("/v1/contacts/verify", &Verify { name, number })?;
    let qr = drawn(&found.number)?;
    context.output.show(&found, |found| {
        let groups: Vec<&str> = (0..12).filter_map(|n| found.number.get(n * 5..n * 5 + 5)).collect();
        let name = safe_text(&found.name);
        match found.matches {
            Some(true) => format!("the number is right: {name} is verified"),
            Some(false) => String::new(),
            None => format!(
                "{}\n{}\n\n{qr}\n{name} must see the same number. Compare it face to face or by voice, never by a message. Then:\n  \
                 qasedak contact verify {name} NUMBER\n",
                groups.get(..6).unwrap_or_default().join(" "),
                groups.get(6..).unwrap_or_default().join(" ")
            ),
        }
    })?;
    match found.matches {
        Some(false) => Err(Failure::failed(
            "the number is another: a digit was misheard, or someone put their own address in between. Compare again; if it \
             stays, do not write to this contact, and exchange addresses anew, face to face",
        )),
        _ => Ok(()),
    }
}

fn block(context: &Context, client: &Client, who: String, blocked: bool) -> Outcome {
    let done: Blocked = client.post("/v1/contacts/block", &Blocking { who, blocked })?;
    context
        .output
        .show(&done, |done| format!("{} is {}", done.address, if done.blocked { "blocked" } else { "not blocked" }))
}

fn blocked(context: &Context, client: &Client) -> Outcome {
    let all: Vec<Unheard> = client.get("/v1/contacts/blocked")?;
    context.output.show(&all, |all| match all.as_slice() {
        [] => "nobody is blocked".to_owned(),
        all => all
            .iter()
            .map(|one| {
                let name = one.name.as_deref().map_or(String::new(), |name| format!("  {}", safe_text(name)));
                format!("{}  since {}{name}\n", one.address, Time::from_secs(one.since))
            })
            .collect(),
    })
}

pub(super) fn request(context: &Context, client: &Client, command: RequestCommand) -> Outcome {
    match command {
        RequestCommand::List => {
            let waiting: Inbox = client.get("/v1/requests")?;
            context.output.show(&waiting, |waiting| match waiting.messages.as_slice() {
                [] => "no stranger has written".to_owned(),
                messages => messages.iter().map(|message| message_text(context, message)).collect(),
            })
        }
        RequestCommand::Accept { address, name } => {
            let added: Contact = client.post("/v1/contacts", &NewContact { name, address })?;
            context.output.show(&added, |added| contact_line(context, added))
        }
        RequestCommand::Decline { address } => {
            let declined: Declined = client.delete("/v1/requests", &address)?;
            context.output.show(&declined, |declined| format!("{} messages removed", declined.messages))
        }
    }
}

fn contact_line(context: &Context, contact: &Contact) -> String {
    let card = match contact.card {
        Some(made) => context.output.dim(&format!("card of {}", Time::from_secs(made))),
        None => context.output.bad("no card found yet"),
    };
    let mut line = format!("{}  {}  {card}", safe_text(&contact.name), contact.address);
    let said =
        [(contact.verified.is_some(), "verified"), (contact.receipts, "receipts on"), (contact.blocked, "blocked")];
    said.into_iter().filter(|(so, _)| *so).for_each(|(_, what)| line.push_str(&format!("  {what}")));
    // A change of keys must not be overlooked.
    let warning = contact.warning.as_deref().map(|why| context.output.bad(&format!("  WARNING {}\n", safe_text(why))));
    format!("{line}\n{}", warning.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks that are printed are the modules of the code: read back line by line, two modules high each.
    #[test]
    fn a_code_is_drawn_module_by_module() {
        for text in ["QSD1PF36D5AK0DKN7U4QM9G3MHYKTQJC65SXQAYMN7CQJD247MFWXZTS6JT5NQ", &"7".repeat(60)] {
            let code = qrcode::QrCode::new(text).unwrap();
            let (width, quiet) = (code.width(), 4);
            let side = width + 2 * quiet;
            let is_dark = |x: usize, y: usize| {
                let inside = (quiet..quiet + width).contains(&x) && (quiet..quiet + width).contains(&y);
                inside && code[(x - quiet, y - quiet)] == qrcode::Color::Dark
            };
            let drawn = drawn(text).unwrap();
            let lines: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
            assert_eq!((lines.len(), lines[0].len()), (side.div_ceil(2), side));
            // On a dark terminal what is printed in the foreground is light.
            for (y, line) in lines.iter().enumerate() {
                for (x, shown) in line.iter().enumerate() {
                    let light = |y| y < side && !is_dark(x, y);
                    let expected = match (light(2 * y), light(2 * y + 1)) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    };
                    assert_eq!(*shown, expected, "{x}, {y}");
                }
            }
        }
    }
}
