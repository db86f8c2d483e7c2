/** The texts of the page in German; en.js has the keys and what they mean. */
export const TEXTS = {
  // The page.
  'page.description':
    'Ein Sprachchat, der dich mit einem fremden Menschen verbindet. Eure Stimmen gehen von Browser zu Browser.',
  'page.footer':
    'Eure Stimmen gehen von Browser zu Browser und sind unterwegs verschlüsselt. Diese Seite verbindet euch nur; sie zeichnet eure Stimmen nicht auf.',

  // The two ends of a call.
  'you.name': 'Du',
  'you.level': 'Dein Mikrofon',
  'you.off': 'Mikrofon aus',
  'you.on': 'Mikrofon an',
  'you.muted': 'stumm',
  'you.interrupted': 'unterbrochen',
  'partner.name': 'Gegenüber',
  'partner.level': 'Die Stimme deines Gegenübers',
  'partner.none': 'nicht verbunden',
  'partner.searching': 'wird gesucht',
  'partner.connecting': 'wird verbunden',
  'partner.talking': 'am Apparat',
  'partner.muted': 'stumm',
  'partner.silent': 'kein Ton',
  'partner.gone': 'weg',
  'clock.label': 'Verstrichene Zeit',

  // Buttons.
  'button.ask': 'Mikrofon einschalten',
  'button.ask_again': 'Noch einmal versuchen',
  'button.start': 'Los',
  'button.next': 'Weiter',
  'button.find': 'Jemand anderen suchen',
  'button.mute': 'Stummschalten',
  'button.unmute': 'Stummschaltung aufheben',
  'button.stop': 'Beenden',
  'button.play': 'Gegenüber hören',
  'button.microphone': 'Mikrofon wieder benutzen',
  'button.sound': 'Ton wieder einschalten',

  // While the visitor waits.
  'button.share': 'Link teilen',
  'button.tell': 'Sag mir, wenn jemand kommt',
  'share.text': 'Komm und rede mit mir',
  'share.copied': 'Link kopiert',
  'share.failed': 'Kopiere die Adresse dieser Seite',
  'waiting.expected': 'Meist dauert es {time}.',
  'waiting.moments': 'nur ein paar Sekunden',
  'waiting.seconds': 'etwa {count} Sekunden',
  'waiting.minute': 'etwa eine Minute',
  'waiting.minutes': 'etwa {count} Minuten',
  'queue.label': 'Warteschlange',
  'queue.any': 'Die gemeinsame',

  // Devices and settings.
  'settings.title': 'Geräte und Einstellungen',
  'settings.microphone': 'Mikrofon',
  'settings.speaker': 'Lautsprecher',
  'settings.system_device': 'Wie im System eingestellt',
  'settings.onward': 'Wenn ein Gegenüber geht, automatisch das nächste suchen',
  'settings.relay_only': 'Meine Netzwerkadresse vor anderen verbergen',
  'settings.relay_available': 'Gespräche laufen dann über das Relay dieser Seite.',
  'settings.relay_unknown': 'Braucht ein Relay; diese Seite hat noch keines gemeldet.',
  'settings.relay_none': 'Braucht ein Relay, und diese Seite hat keines.',
  'settings.relay_always': 'Das ist hier immer so: Alle Gespräche laufen über das Relay dieser Seite.',
  'settings.relay_next': 'Eine Änderung gilt ab dem nächsten Gespräch.',
  'settings.ring': 'Klingeln, wenn jemand gefunden wurde',
  'settings.notify': 'Mich benachrichtigen, wenn jemand gefunden wurde, während dieser Tab verdeckt ist',
  'settings.notify_denied':
    'Dieser Browser erlaubt der Seite keine Benachrichtigungen. Du kannst sie in den Website-Einstellungen neben der Adresse erlauben.',
  'settings.shortcuts': 'Einzelne Buchstaben sind Tastenkürzel:',
  'settings.key_mute': 'stumm',
  'settings.key_next': 'los oder weiter',
  'settings.key_stop': 'beenden',
  'settings.speaker_failed': 'Dieser Lautsprecher kann nicht benutzt werden. Der bisherige bleibt an.',

  // Who sees the network address.
  'privacy.visible': 'Wer mit dir redet, kann deine Netzwerkadresse (IP) sehen, wenn kein Relay sie verbirgt.',
  'privacy.hidden': 'Ein Relay verbirgt deine Netzwerkadresse (IP) vor denen, die mit dir reden.',

  // Phases.
  'starting.headline': 'Einen Augenblick',
  'starting.detail': 'Die Seite startet.',
  'blocked.insecure.headline': 'Diese Seite braucht eine sichere Adresse',
  'blocked.insecure.detail':
    'Browser geben das Mikrofon nur über https:// oder auf localhost frei. Öffne diese Seite unter einer solchen Adresse.',
  'blocked.no_webrtc.headline': 'Dieser Browser kann nicht telefonieren',
  'blocked.no_webrtc.detail': 'Ihm fehlt WebRTC. Ein aktueller Firefox, Chrome, Edge oder Safari hat es.',
  'welcome.headline': 'Rede mit einem fremden Menschen',
  'welcome.detail': 'Schalte zuerst dein Mikrofon ein. Niemand hört dich, bevor du auf „Los“ drückst.',
  'asking.headline': 'Dürfen wir dich hören?',
  'asking.detail': 'Dein Browser fragt nach dem Mikrofon. Bitte wähle „Zulassen“.',
  'ready.headline': 'Sag etwas',
  'ready.detail': 'Wenn sich der Ring um deine Buchse bewegt, bist du zu hören. Drücke dann auf „Los“.',
  'searching.headline': 'Wir suchen jemanden',
  'searching.detail': 'Du stehst in der Schlange. Diese Seite verbindet dich automatisch.',
  'searching.away.headline': 'Nicht verbunden',
  'searching.held.headline': 'Einen Augenblick, bitte',
  'searching.in_queue': 'Du stehst in der Schlange „{queue}“. Diese Seite verbindet dich automatisch.',
  'searching.asking': 'Die Vermittlung wird um einen Platz in der Schlange gebeten.',
  'searching.away':
    'Du stehst nicht in der Schlange, weil es keine Verbindung gibt. Sobald es eine gibt, stellt diese Seite dich an.',
  'searching.too_many_matches':
    'Du hast sehr oft gewechselt. Wenn die gezeigte Zeit um ist, stellt diese Seite dich wieder an.',
  'searching.rate_limited': 'Die Vermittlung wird zu oft gefragt. Diese Seite stellt dich gleich an.',
  'searching.draining':
    'Die Vermittlung startet gleich neu und vermittelt keine neuen Gespräche. Danach stellt diese Seite dich wieder an.',
  'searching.again': '{reason}. Wir suchen das nächste Gegenüber.',
  'found.title': 'Jemand ist am Apparat',
  'found.body': 'Die Seite hat jemanden gefunden. Komm zurück zur Seite, um zu reden.',
  'connecting.headline': 'Du wirst verbunden',
  'connecting.detail': 'Jemand ist da. Einen Augenblick.',
  'talking.headline': 'Ihr seid verbunden',
  'talking.up': 'Die Leitung gehört euch, solange ihr beide mögt.',
  'talking.silent': 'Der Ton ist weg. Die Verbindung zu deinem Gegenüber wird wiederhergestellt.',
  'talking.partner_away': 'Dein Gegenüber hat die Verbindung zur Vermittlung verloren. Euer Gespräch geht weiter.',
  'talking.partner_gone':
    'Dein Gegenüber ist nicht mehr bei der Vermittlung. Ihr könnt weiterreden, oder du nimmst das nächste Gespräch an.',
  'talking.own_gone':
    'Die Vermittlung kennt dieses Gespräch nicht mehr. Ihr könnt weiterreden, aber wenn der Ton wegbleibt, lässt er sich nicht wiederherstellen.',
  'stopped.headline': 'Du hast aufgehört',
  'stopped.detail': 'Dein Mikrofon ist aus. „Los“ schaltet es wieder ein und sucht jemanden.',

  // Searches that the page or the switchboard refuses.
  'no_line.bad_queue.headline': 'Diese Schlange hat keinen brauchbaren Namen',
  'no_line.bad_queue.detail':
    'Die Vermittlung nimmt den Namen nach # in der Adresse nicht an. Ändere oder lösche ihn, dann kommst du in die gemeinsame Schlange, und versuche es noch einmal.',
  'no_line.long_queue.headline': 'Der Name dieser Schlange ist zu lang',
  'no_line.long_queue.detail':
    'Der Name nach # in der Adresse darf 64 Buchstaben von A bis Z und Ziffern haben; jedes andere Zeichen zählt drei oder mehr. Kürze oder lösche ihn und versuche es noch einmal.',
  'no_line.no_relay.headline': 'Kein Relay kann deine Adresse hier verbergen',
  'no_line.no_relay.detail':
    'Du willst deine Netzwerkadresse verbergen. Das braucht ein Relay, und diese Seite hat keines. Schalte es unter „Geräte und Einstellungen“ aus, um hier trotzdem zu reden.',
  'no_line.other.headline': 'Die Vermittlung hat die Suche abgelehnt',
  'no_line.other.detail':
    'Sie nannte keinen Grund, den diese Seite versteht. Vielleicht hilft es, die Seite neu zu laden.',

  // Troubles with the microphone.
  'mic_failed.denied.headline': 'Das Mikrofon ist gesperrt',
  'mic_failed.denied.detail':
    'Diese Seite darf das Mikrofon nicht benutzen. Öffne die Einstellungen der Website neben der Adresse, erlaube das Mikrofon und versuche es noch einmal.',
  'mic_failed.dismissed.headline': 'Das Mikrofon ist noch aus',
  'mic_failed.dismissed.detail':
    'Die Frage des Browsers wurde ohne Antwort geschlossen. Versuche es noch einmal und wähle „Zulassen“.',
  'mic_failed.none.headline': 'Kein Mikrofon gefunden',
  'mic_failed.none.detail':
    'Schließe eines an oder schalte dein Headset ein und versuche es noch einmal. Ein neues bemerkt die Seite von selbst.',
  'mic_failed.busy.headline': 'Das Mikrofon ist belegt',
  'mic_failed.busy.detail': 'Ein anderes Programm scheint es zu benutzen. Schließe es und versuche es noch einmal.',
  'mic_failed.other.headline': 'Das Mikrofon startet nicht',
  'mic_failed.other.detail':
    'Dein Browser nannte keinen klaren Grund. Versuche es noch einmal, oder wähle unten ein anderes Mikrofon.',

  // Ends of a call.
  'ended.left.headline': 'Dein Gegenüber hat aufgelegt',
  'ended.left.detail': 'Vielleicht wartet gerade jemand anders.',
  'ended.next.headline': 'Dein Gegenüber ist weitergegangen',
  'ended.next.detail': 'Vielleicht wartet gerade jemand anders.',
  'ended.disconnected.headline': 'Dein Gegenüber ist weg',
  'ended.disconnected.detail': 'Die Verbindung ist unerwartet abgebrochen.',
  'ended.timeout.headline': 'Dein Gegenüber ist weg',
  'ended.timeout.detail': 'Die Verbindung ging verloren und kam nicht zurück.',
  'ended.lost.headline': 'Das Gespräch ging verloren',
  'ended.lost.detail': 'Der Ton blieb weg, und die Verbindung zu deinem Gegenüber ließ sich nicht wiederherstellen.',
  'ended.unreachable.headline': 'Kein Weg zu diesem Gegenüber',
  'ended.unreachable.detail': 'Eure beiden Netze konnten sich nicht erreichen. Mit jemand anderem klappt es oft.',
  'ended.relay_refused.headline': 'Das Relay hat das Gespräch abgelehnt',
  'ended.relay_refused.detail':
    'Der TURN-Server dieser Seite hat das Passwort abgelehnt, das er bekam (401), darum kann kein Gespräch über ihn laufen. Wer diese Seite betreibt, muss auf beiden Servern dasselbe Geheimnis einstellen.',
  'ended.relay_missing.headline': 'Kein Relay ist erreichbar',
  'ended.relay_missing.detail':
    'Du willst deine Netzwerkadresse verbergen, was ein Relay braucht, aber keines antwortet. Schalte das unter „Geräte und Einstellungen“ aus, oder versuche es später.',

  // The connection to the server.
  'connection.continues': 'Euer Gespräch geht weiter.',
  'connection.retrying': 'Neuer Versuch läuft.',
  'connection.draining': 'Die Vermittlung startet gleich neu.',
  'connection.reconnects': 'Diese Seite verbindet sich automatisch neu.',
  'connection.offline': 'Dein Gerät ist offline.',
  'connection.silent': 'Die Vermittlung hat zu lange nichts von dieser Seite empfangen.',
  'connection.internal': 'Die Vermittlung hatte einen internen Fehler.',
  'connection.restarting': 'Die Vermittlung startet neu.',
  'connection.slow': 'Dein Netz war zu langsam für die Vermittlung.',
  'connection.resumed': 'Diese Sitzung wurde von einer anderen Verbindung fortgesetzt.',
  'connection.misunderstood': 'Die Vermittlung hat diese Seite nicht verstanden.',
  'connection.unreachable': 'Die Vermittlung ist nicht erreichbar.',

  // Why no connection can be opened.
  'obstacle.draining': 'Die Vermittlung startet gleich neu und nimmt keine neuen Verbindungen an.',
  'obstacle.full': 'Die Vermittlung ist voll. Du kommst hinein, sobald ein Platz frei wird.',
  'obstacle.address':
    'Von deiner Netzwerkadresse kommen zu viele Verbindungen. Schließe andere Tabs mit dieser Seite; vielleicht nutzen sie auch andere in deinem Netz.',
  'obstacle.origin':
    'Die Vermittlung nimmt diese Seite unter der Adresse, unter der du sie geöffnet hast, nicht an. Öffne sie unter der Adresse, die ihr Betreiber nennt.',
  'obstacle.no_websocket':
    'Die Vermittlung arbeitet, aber etwas auf dem Weg sperrt Gespräche (WebSocket). Nimm ein anderes Netz, oder schalte VPN, Proxy oder Filter aus.',

  // What the server refuses.
  'refused.bad_queue':
    'Der Name nach # in der Adresse ist nicht erlaubt: Er darf bis zu 64 Buchstaben von A bis Z, Ziffern und _ . : - haben.',
  'refused.rate_limited': 'Das war zu viel auf einmal; einiges wurde verworfen. Bitte warte einen Augenblick.',
  'refused.draining':
    'Die Vermittlung startet gleich neu und verbindet gerade niemanden. Nach dem Neustart stehst du wieder in der Schlange, am Ende.',
  'refused.misunderstood': 'Die Vermittlung hat diese Seite nicht verstanden. Vielleicht hilft es, sie neu zu laden.',
  'refused.unknown_type': 'Die Vermittlung weiß nicht, was diese Seite wollte. Vielleicht hilft es, sie neu zu laden.',
  'refused.other': 'Die Vermittlung hat etwas abgelehnt: {message}',

  // Figures.
  'users.none': 'Sonst ist niemand da',
  'users.one': 'Eine weitere Person ist da',
  'users.many': '{count} andere sind da',
  'quality.none': 'Es kommt kein Ton an',
  'quality.not_played': 'Der Ton ist auf diesem Gerät angehalten',
  'quality.good': 'Klare Leitung',
  'quality.fair': 'Mäßige Leitung',
  'quality.poor': 'Schlechte Leitung',
  'quality.relayed': 'über ein Relay',
  'quality.direct': 'direkt',
  'quality.delay': '{ms} ms',
};
