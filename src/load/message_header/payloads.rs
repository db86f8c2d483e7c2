//! What a message contains after its header: SDP, ICE candidates and padding of the sizes that
//! browsers produce. Pure.

use super::HEADER_BYTES;

/// The part of a plain message after the header that makes the whole message, with envelope, room
/// and header, `bytes` long.
pub(super) fn padding(bytes: usize) -> String {
    const ENVELOPE_BYTES: usize = 52 + 22 + HEADER_BYTES + 10;
    let filler = "the quick brown fox jumps over the lazy dog ";
    let wanted = bytes.saturating_sub(ENVELOPE_BYTES);
    let pad: String = filler.chars().cycle().take(wanted).collect();
    format!(",\"pad\":\"{pad}\"")
}

/// One ICE candidate, as browsers send them.
pub(super) const CANDIDATE: &str = concat!(
    ",\"candidate\":\"candidate:842163049 1 udp 1677729535 203.0.113.77 54321 typ srflx raddr ",
    "192.168.1.17 rport 54321 generation 0 ufrag Zx3q network-cost 999\",",
    "\"sdpMid\":\"0\",\"sdpMLineIndex\":0"
);

/// A session description for audio of the size that browsers produce: `extra_codecs` codecs with
/// their parameters, header extensions, and the credentials of the transport.
pub(super) fn session_description(kind: &str, setup: &str, extra_codecs: usize) -> String {
    let mut sdp = String::from(
        "v=0\\r\\no=- 4611731400430051336 2 IN IP4 127.0.0.1\\r\\ns=-\\r\\nt=0 0\\r\\n\
         a=group:BUNDLE 0\\r\\na=extmap-allow-mixed\\r\\na=msid-semantic: WMS voice\\r\\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\\r\\nc=IN IP4 0.0.0.0\\r\\n\
         a=rtcp:9 IN IP4 0.0.0.0\\r\\na=ice-ufrag:Zx3q\\r\\na=ice-pwd:asd88fgpdd777uzjYhagZg5t\\r\\n\
         a=ice-options:trickle\\r\\na=mid:0\\r\\na=sendrecv\\r\\na=rtcp-mux\\r\\n",
    );
    sdp += &format!("a=setup:{setup}\\r\\na=fingerprint:sha-256");
    sdp.extend((0..32).map(|i| format!("{}{:02X}", if i == 0 { ' ' } else { ':' }, i * 37 % 256)));
    for i in 0..extra_codecs {
        let codec = 96 + i;
        sdp += &format!(
            "\\r\\na=rtpmap:{codec} opus/48000/2\\r\\na=fmtp:{codec} minptime=10;useinbandfec=1"
        );
    }
    format!(",\"type\":\"{kind}\",\"sdp\":\"{sdp}\\r\\n\"")
}
