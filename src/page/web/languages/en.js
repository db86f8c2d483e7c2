/**
 * The texts of the page in English. This file is the reference: each other language has the same
 * keys in the same order, and the same placeholders ({name}) in each text, which
 * tests/browser/languages.test.js checks. The page shows the English text where another language
 * lacks one. index.html names keys in `data-text` and `data-label`.
 */
export const TEXTS = {
  // The page.
  'page.description':
    'A voice chat that puts you through to a stranger. Your voices go from browser to browser.',
  'page.footer':
    'Your voices go from browser to browser and are encrypted on the way. This site only connects you; it does not record your voices.',

  // The two ends of a call.
  'you.name': 'You',
  'you.level': 'Your microphone',
  'you.off': 'microphone off',
  'you.on': 'microphone on',
  'you.muted': 'muted',
  'you.interrupted': 'interrupted',
  'partner.name': 'Stranger',
  'partner.level': 'Your partner’s voice',
  'partner.none': 'not connected',
  'partner.searching': 'searching',
  'partner.connecting': 'connecting',
  'partner.talking': 'on the line',
  'partner.muted': 'muted',
  'partner.silent': 'no sound',
  'partner.gone': 'gone',
  'clock.label': 'Elapsed time',

  // Buttons.
  'button.ask': 'Turn on the microphone',
  'button.ask_again': 'Try again',
  'button.start': 'Start',
  'button.next': 'Next',
  'button.find': 'Find someone else',
  'button.mute': 'Mute',
  'button.unmute': 'Unmute',
  'button.stop': 'Stop',
  'button.play': 'Let me hear my partner',
  'button.microphone': 'Use my microphone again',
  'button.sound': 'Turn the sound on again',

  // While the visitor waits.
  'button.share': 'Share a link',
  'button.tell': 'Tell me when someone comes',
  'share.text': 'Come and talk with me',
  'share.copied': 'Link copied',
  'share.failed': 'Copy the address of this page',
  'waiting.expected': 'Usually it takes {time}.',
  'waiting.moments': 'only a few seconds',
  'waiting.seconds': 'about {count} seconds',
  'waiting.minute': 'about a minute',
  'waiting.minutes': 'about {count} minutes',
  'queue.label': 'Line',
  'queue.any': 'The common line',

  // Devices and settings.
  'settings.title': 'Devices and settings',
  'settings.microphone': 'Microphone',
  'settings.speaker': 'Speaker',
  'settings.system_device': 'The system’s choice',
  'settings.onward': 'When a partner leaves, look for the next one automatically',
  'settings.relay_only': 'Hide my network address from partners',
  'settings.relay_available': 'Calls then go through this site’s relay.',
  'settings.relay_unknown': 'Needs a relay; this site has not announced one yet.',
  'settings.relay_none': 'Needs a relay, and this site has none.',
  'settings.relay_always': 'This site always does that: all calls go through its relay.',
  'settings.relay_next': 'A change counts from the next call on.',
  'settings.ring': 'Ring when a partner was found',
  'settings.notify': 'Notify me when a partner was found while this tab is hidden',
  'settings.notify_denied':
    'This browser does not allow notifications for this page. You can allow them in the site settings next to the address.',
  'settings.shortcuts': 'Single letters are shortcuts:',
  'settings.key_mute': 'mute',
  'settings.key_next': 'start or next',
  'settings.key_stop': 'stop',
  'settings.speaker_failed': 'This speaker cannot be used. The previous one stays on.',

  // Who sees the network address.
  'privacy.visible': 'The people you talk with can see your network address (IP) unless a relay hides it.',
  'privacy.hidden': 'A relay hides your network address (IP) from the people you talk with.',

  // Phases.
  'starting.headline': 'One moment',
  'starting.detail': 'The page is starting.',
  'blocked.insecure.headline': 'This page needs a secure address',
  'blocked.insecure.detail':
    'Browsers hand out the microphone only over https:// or on localhost. Open this page at such an address.',
  'blocked.no_webrtc.headline': 'This browser cannot make calls',
  'blocked.no_webrtc.detail': 'It has no WebRTC. A recent Firefox, Chrome, Edge or Safari does.',
  'welcome.headline': 'Talk with a stranger',
  'welcome.detail': 'First, turn on your microphone. No one hears you until you press Start.',
  'asking.headline': 'May we hear you?',
  'asking.detail': 'Your browser is asking for the microphone. Please choose “Allow”.',
  'ready.headline': 'Say something',
  'ready.detail': 'If the ring around your jack moves, you can be heard. Then press Start.',
  'searching.headline': 'Looking for someone',
  'searching.detail': 'You are in line. This page connects you automatically.',
  'searching.away.headline': 'Not connected',
  'searching.held.headline': 'One moment, please',
  'searching.in_queue': 'You are in the line “{queue}”. This page connects you automatically.',
  'searching.asking': 'Asking the switchboard for a place in line.',
  'searching.away': 'You are not in line, because there is no connection. This page puts you in line as soon as there is one.',
  'searching.too_many_matches':
    'You have changed partners very often. This page puts you in line again when the time shown is over.',
  'searching.rate_limited': 'The switchboard is asked too often. This page puts you in line in a moment.',
  'searching.draining':
    'The switchboard is about to restart and makes no new calls. This page puts you in line again after the restart.',
  'searching.again': '{reason}. Looking for the next partner.',
  'found.title': 'Someone is on the line',
  'found.body': 'A partner was found. Come back to the page to talk.',
  'connecting.headline': 'Putting you through',
  'connecting.detail': 'Someone is there. One moment.',
  'talking.headline': 'You are talking',
  'talking.up': 'The line is yours for as long as you both like.',
  'talking.silent': 'The sound has stopped. Trying to restore the connection to your partner.',
  'talking.partner_away': 'Your partner lost the connection to the switchboard. Your call continues.',
  'talking.partner_gone':
    'Your partner is no longer on the switchboard. You can continue talking, or take the next call.',
  'talking.own_gone':
    'The switchboard no longer has this call. You can continue talking, but if the sound stops, it cannot be restored.',

  'stopped.headline': 'You have stopped',
  'stopped.detail': 'Your microphone is off. Start turns it on again and looks for someone.',

  // Searches that the page or the switchboard refuses.
  'no_line.bad_queue.headline': 'This line has no usable name',
  'no_line.bad_queue.detail':
    'The switchboard does not take the name after # in the address. Change it, or delete it to join the common line, and try again.',
  'no_line.long_queue.headline': 'The name of this line is too long',
  'no_line.long_queue.detail':
    'The name after # in the address may have 64 letters A to Z and digits; each other character counts as three or more. Shorten it, or delete it to join the common line, and try again.',
  'no_line.no_relay.headline': 'No relay can hide your address here',
  'no_line.no_relay.detail':
    'You asked to hide your network address. That needs a relay, and this site has none. Switch it off under “Devices and settings” to talk here all the same.',
  'no_line.other.headline': 'The switchboard refused the search',
  'no_line.other.detail': 'It gave no reason that this page understands. Reloading the page may help.',

  // Troubles with the microphone.
  'mic_failed.denied.headline': 'The microphone is blocked',
  'mic_failed.denied.detail':
    'This page may not use the microphone. Open the site settings next to the address, allow the microphone, and try again.',
  'mic_failed.dismissed.headline': 'The microphone is still off',
  'mic_failed.dismissed.detail':
    'The browser’s question was closed without an answer. Try again, and choose “Allow”.',
  'mic_failed.none.headline': 'No microphone found',
  'mic_failed.none.detail':
    'Plug one in or switch your headset on, then try again. The page notices a new one automatically.',
  'mic_failed.busy.headline': 'The microphone is busy',
  'mic_failed.busy.detail': 'Another program seems to be using it. Close that program, then try again.',
  'mic_failed.other.headline': 'The microphone does not start',
  'mic_failed.other.detail':
    'Your browser gave no clear reason. Try again, or choose another microphone below.',

  // Ends of a call.
  'ended.left.headline': 'Your partner hung up',
  'ended.left.detail': 'Someone else may be waiting right now.',
  'ended.next.headline': 'Your partner moved on',
  'ended.next.detail': 'Someone else may be waiting right now.',
  'ended.disconnected.headline': 'Your partner is gone',
  'ended.disconnected.detail': 'Their connection ended unexpectedly.',
  'ended.timeout.headline': 'Your partner is gone',
  'ended.timeout.detail': 'Their connection was lost and did not come back.',
  'ended.lost.headline': 'The call was lost',
  'ended.lost.detail': 'The sound stopped, and the connection to your partner could not be restored.',
  'ended.unreachable.headline': 'No way to this partner',
  'ended.unreachable.detail':
    'Your two networks could not reach each other. It often works with someone else.',
  'ended.relay_refused.headline': 'The relay refused the call',
  'ended.relay_refused.detail':
    'This site’s TURN server refused the password it was given (401), so no call can be relayed. The operator of this site has to set the same secret on both servers.',
  'ended.relay_missing.headline': 'No relay can be reached',
  'ended.relay_missing.detail':
    'You asked to hide your network address, which needs a relay, but no relay answers. Switch that off under “Devices and settings”, or try later.',

  // The connection to the server.
  'connection.continues': 'Your call continues.',
  'connection.retrying': 'Trying again.',
  'connection.draining': 'The switchboard is about to restart.',
  'connection.reconnects': 'This page reconnects automatically.',
  'connection.offline': 'Your device is offline.',
  'connection.silent': 'The switchboard received nothing from this page for too long.',
  'connection.internal': 'The switchboard had an internal error.',
  'connection.restarting': 'The switchboard is restarting.',
  'connection.slow': 'Your network was too slow for the switchboard.',
  'connection.resumed': 'This session was resumed from another connection.',
  'connection.misunderstood': 'The switchboard did not understand this page.',
  'connection.unreachable': 'The switchboard cannot be reached.',

  // Why no connection can be opened.
  'obstacle.draining': 'The switchboard is about to restart and takes no new connections.',
  'obstacle.full': 'The switchboard is full. You get in when a place is free.',
  'obstacle.address':
    'Too many connections come from your network address. Close other tabs with this page; others in your network may be using it too.',
  'obstacle.origin':
    'The switchboard does not accept this page from the address at which you opened it. Open the site at the address that its operator announces.',
  'obstacle.no_websocket':
    'The switchboard works, but something on the way blocks calls (WebSocket). Try another network, or switch off a VPN, proxy or filter.',

  // What the server refuses.
  'refused.bad_queue':
    'The name after # in the address cannot be used: it may have up to 64 letters A to Z, digits and _ . : -',
  'refused.rate_limited': 'That was too much at once; some of it was dropped. Please wait a moment.',
  'refused.draining':
    'The switchboard is about to restart and makes no new calls. After the restart you will be in line again, at the end.',
  'refused.misunderstood': 'The switchboard did not understand this page. Reloading it may help.',
  'refused.unknown_type': 'The switchboard does not know what this page asked for. Reloading it may help.',
  'refused.other': 'The switchboard refused something: {message}',

  // Figures.
  'users.none': 'No one else is here',
  'users.one': 'One other is here',
  'users.many': '{count} others are here',
  'quality.none': 'No sound arrives',
  'quality.not_played': 'The sound is stopped on this device',
  'quality.good': 'Clear line',
  'quality.fair': 'Fair line',
  'quality.poor': 'Poor line',
  'quality.relayed': 'through a relay',
  'quality.direct': 'direct',
  'quality.delay': '{ms} ms',
};
