/**
 * The texts of the page in French; en.js has the keys and what they mean. A narrow no-break space
 * (U+202F) stands before ; : ! ? and inside « ».
 */
export const TEXTS = {
  // The page.
  'page.description':
    'Un chat vocal qui vous met en relation avec une personne inconnue. Vos voix vont de navigateur à navigateur.',
  'page.footer':
    'Vos voix vont de navigateur à navigateur et sont chiffrées en chemin. Ce site ne fait que vous mettre en relation ; il n’enregistre pas vos voix.',

  // The two ends of a call.
  'you.name': 'Vous',
  'you.level': 'Votre microphone',
  'you.off': 'micro coupé',
  'you.on': 'micro activé',
  'you.muted': 'muet',
  'you.interrupted': 'interrompu',
  'partner.name': 'Votre interlocuteur',
  'partner.level': 'La voix de votre interlocuteur',
  'partner.none': 'non connecté',
  'partner.searching': 'recherche',
  'partner.connecting': 'connexion',
  'partner.talking': 'en ligne',
  'partner.muted': 'muet',
  'partner.silent': 'pas de son',
  'partner.gone': 'parti',
  'clock.label': 'Temps écoulé',

  // Buttons.
  'button.ask': 'Activer le microphone',
  'button.ask_again': 'Réessayer',
  'button.start': 'Démarrer',
  'button.next': 'Suivant',
  'button.find': 'Chercher quelqu’un d’autre',
  'button.mute': 'Couper le micro',
  'button.unmute': 'Rétablir le micro',
  'button.stop': 'Arrêter',
  'button.play': 'Entendre mon interlocuteur',
  'button.microphone': 'Réutiliser mon micro',
  'button.sound': 'Réactiver le son',

  // While the visitor waits.
  'button.share': 'Partager un lien',
  'button.tell': 'Me prévenir quand quelqu’un arrive',
  'share.text': 'Venez parler avec moi',
  'share.copied': 'Lien copié',
  'share.failed': 'Copiez l’adresse de cette page',
  'waiting.expected': 'Il faut en général {time}.',
  'waiting.moments': 'quelques secondes',
  'waiting.seconds': 'environ {count} secondes',
  'waiting.minute': 'environ une minute',
  'waiting.minutes': 'environ {count} minutes',
  'queue.label': 'File d’attente',
  'queue.any': 'La file commune',

  // Devices and settings.
  'settings.title': 'Appareils et réglages',
  'settings.microphone': 'Microphone',
  'settings.speaker': 'Haut-parleur',
  'settings.system_device': 'Choix du système',
  'settings.onward': 'Quand un interlocuteur part, chercher automatiquement le suivant',
  'settings.relay_only': 'Cacher mon adresse réseau aux autres',
  'settings.relay_available': 'Les appels passent alors par le relais de ce site.',
  'settings.relay_unknown': 'Nécessite un relais ; ce site n’en a pas encore annoncé.',
  'settings.relay_none': 'Nécessite un relais, et ce site n’en a pas.',
  'settings.relay_always': 'Ce site le fait toujours : tous les appels passent par son relais.',
  'settings.relay_next': 'Un changement vaut à partir du prochain appel.',
  'settings.ring': 'Sonner quand quelqu’un a été trouvé',
  'settings.notify': 'Me prévenir quand quelqu’un a été trouvé et que cet onglet est masqué',
  'settings.notify_denied':
    'Ce navigateur n’autorise pas les notifications de cette page. Vous pouvez les autoriser dans les réglages du site, à côté de l’adresse.',
  'settings.shortcuts': 'Les lettres seules sont des raccourcis :',
  'settings.key_mute': 'muet',
  'settings.key_next': 'démarrer ou suivant',
  'settings.key_stop': 'arrêter',
  'settings.speaker_failed': 'Ce haut-parleur ne peut pas être utilisé. Le précédent reste actif.',

  // Who sees the network address.
  'privacy.visible':
    'Les personnes qui vous parlent peuvent voir votre adresse réseau (IP), sauf si un relais la cache.',
  'privacy.hidden': 'Un relais cache votre adresse réseau (IP) aux personnes qui vous parlent.',

  // Phases.
  'starting.headline': 'Un instant',
  'starting.detail': 'La page démarre.',
  'blocked.insecure.headline': 'Cette page a besoin d’une adresse sécurisée',
  'blocked.insecure.detail':
    'Les navigateurs n’autorisent le microphone qu’avec https:// ou sur localhost. Ouvrez cette page à une telle adresse.',
  'blocked.no_webrtc.headline': 'Ce navigateur ne peut pas passer d’appels',
  'blocked.no_webrtc.detail': 'Il n’a pas WebRTC. Un Firefox, Chrome, Edge ou Safari récent l’a.',
  'welcome.headline': 'Parlez avec une personne inconnue',
  'welcome.detail':
    'D’abord, activez votre microphone. Personne ne vous entend avant que vous appuyiez sur « Démarrer ».',
  'asking.headline': 'Pouvons-nous vous entendre ?',
  'asking.detail': 'Votre navigateur demande le microphone. Choisissez « Autoriser ».',
  'ready.headline': 'Dites quelque chose',
  'ready.detail': 'Si l’anneau autour de votre prise bouge, on vous entend. Appuyez alors sur « Démarrer ».',
  'searching.headline': 'Recherche en cours',
  'searching.detail': 'Vous êtes dans la file. Cette page vous connecte automatiquement.',
  'searching.away.headline': 'Pas de connexion',
  'searching.held.headline': 'Un instant, s’il vous plaît',
  'searching.in_queue': 'Vous êtes dans la file « {queue} ». Cette page vous connecte automatiquement.',
  'searching.asking': 'Une place dans la file est demandée au standard.',
  'searching.away':
    'Vous n’êtes pas dans la file, car il n’y a pas de connexion. Cette page vous y mettra dès qu’il y en aura une.',
  'searching.too_many_matches':
    'Vous avez changé d’interlocuteur très souvent. Cette page vous remettra dans la file quand le temps affiché sera écoulé.',
  'searching.rate_limited': 'Le standard reçoit trop de demandes. Cette page vous mettra dans la file dans un instant.',
  'searching.draining':
    'Le standard va redémarrer et n’établit plus d’appels. Ensuite, cette page vous remettra dans la file.',
  'searching.again': '{reason}. Recherche de l’interlocuteur suivant.',
  'found.title': 'Quelqu’un est en ligne',
  'found.body': 'Un interlocuteur a été trouvé. Revenez à la page pour parler.',
  'connecting.headline': 'Mise en relation',
  'connecting.detail': 'Quelqu’un est là. Un instant.',
  'talking.headline': 'Vous êtes en ligne',
  'talking.up': 'La ligne est à vous aussi longtemps que vous le voulez tous les deux.',
  'talking.silent': 'Le son s’est arrêté. Tentative de rétablir la connexion avec votre interlocuteur.',
  'talking.partner_away': 'Votre interlocuteur a perdu la connexion avec le standard. Votre appel continue.',
  'talking.partner_gone':
    'Votre interlocuteur n’est plus relié au standard. Vous pouvez continuer à parler, ou passer à l’appel suivant.',
  'talking.own_gone':
    'Le standard ne connaît plus cet appel. Vous pouvez continuer à parler, mais si le son s’arrête, il ne pourra pas être rétabli.',
  'stopped.headline': 'Vous avez arrêté',
  'stopped.detail': 'Votre micro est coupé. « Démarrer » le rallume et cherche quelqu’un.',

  // Searches that the page or the switchboard refuses.
  'no_line.bad_queue.headline': 'Cette file n’a pas de nom utilisable',
  'no_line.bad_queue.detail':
    'Le standard n’accepte pas le nom qui suit # dans l’adresse. Changez-le, ou effacez-le pour rejoindre la file commune, et réessayez.',
  'no_line.long_queue.headline': 'Le nom de cette file est trop long',
  'no_line.long_queue.detail':
    'Le nom qui suit # dans l’adresse peut avoir 64 lettres de A à Z et chiffres ; chaque autre caractère compte pour trois ou plus. Raccourcissez-le ou effacez-le, et réessayez.',
  'no_line.no_relay.headline': 'Aucun relais ne peut cacher votre adresse ici',
  'no_line.no_relay.detail':
    'Vous voulez cacher votre adresse réseau. Il faut pour cela un relais, et ce site n’en a pas. Désactivez-le sous « Appareils et réglages » pour parler ici malgré tout.',
  'no_line.other.headline': 'Le standard a refusé la recherche',
  'no_line.other.detail': 'Il n’a pas donné de raison que cette page comprenne. Recharger la page peut aider.',

  // Troubles with the microphone.
  'mic_failed.denied.headline': 'Le microphone est bloqué',
  'mic_failed.denied.detail':
    'Cette page n’a pas le droit d’utiliser le microphone. Ouvrez les réglages du site à côté de l’adresse, autorisez le microphone et réessayez.',
  'mic_failed.dismissed.headline': 'Le microphone est toujours coupé',
  'mic_failed.dismissed.detail':
    'La question du navigateur a été fermée sans réponse. Réessayez et choisissez « Autoriser ».',
  'mic_failed.none.headline': 'Aucun microphone trouvé',
  'mic_failed.none.detail':
    'Branchez-en un ou allumez votre casque, puis réessayez. La page en remarque un nouveau toute seule.',
  'mic_failed.busy.headline': 'Le microphone est occupé',
  'mic_failed.busy.detail': 'Un autre programme semble l’utiliser. Fermez-le, puis réessayez.',
  'mic_failed.other.headline': 'Le microphone ne démarre pas',
  'mic_failed.other.detail':
    'Votre navigateur n’a pas donné de raison claire. Réessayez, ou choisissez un autre microphone ci-dessous.',

  // Ends of a call.
  'ended.left.headline': 'Votre interlocuteur a raccroché',
  'ended.left.detail': 'Quelqu’un d’autre attend peut-être en ce moment.',
  'ended.next.headline': 'Votre interlocuteur est passé au suivant',
  'ended.next.detail': 'Quelqu’un d’autre attend peut-être en ce moment.',
  'ended.disconnected.headline': 'Votre interlocuteur est parti',
  'ended.disconnected.detail': 'Sa connexion s’est terminée de façon inattendue.',
  'ended.timeout.headline': 'Votre interlocuteur est parti',
  'ended.timeout.detail': 'Sa connexion s’est perdue et n’est pas revenue.',
  'ended.lost.headline': 'L’appel a été perdu',
  'ended.lost.detail': 'Le son s’est arrêté, et la connexion avec votre interlocuteur n’a pas pu être rétablie.',
  'ended.unreachable.headline': 'Aucun chemin vers cet interlocuteur',
  'ended.unreachable.detail': 'Vos deux réseaux n’ont pas pu se joindre. Cela marche souvent avec quelqu’un d’autre.',
  'ended.relay_refused.headline': 'Le relais a refusé l’appel',
  'ended.relay_refused.detail':
    'Le serveur TURN de ce site a refusé le mot de passe reçu (401), donc aucun appel ne peut passer par lui. L’exploitant de ce site doit définir le même secret sur les deux serveurs.',
  'ended.relay_missing.headline': 'Aucun relais n’est joignable',
  'ended.relay_missing.detail':
    'Vous avez demandé à cacher votre adresse réseau, ce qui nécessite un relais, mais aucun ne répond. Désactivez cela sous « Appareils et réglages », ou réessayez plus tard.',

  // The connection to the server.
  'connection.continues': 'Votre appel continue.',
  'connection.retrying': 'Nouvelle tentative.',
  'connection.draining': 'Le standard va redémarrer.',
  'connection.reconnects': 'Cette page se reconnecte automatiquement.',
  'connection.offline': 'Votre appareil est hors ligne.',
  'connection.silent': 'Le standard n’a rien reçu de cette page pendant trop longtemps.',
  'connection.internal': 'Le standard a eu une erreur interne.',
  'connection.restarting': 'Le standard redémarre.',
  'connection.slow': 'Votre réseau était trop lent pour le standard.',
  'connection.resumed': 'Cette session a été reprise par une autre connexion.',
  'connection.misunderstood': 'Le standard n’a pas compris cette page.',
  'connection.unreachable': 'Le standard est injoignable.',

  // Why no connection can be opened.
  'obstacle.draining': 'Le standard va redémarrer et n’accepte plus de connexions.',
  'obstacle.full': 'Le standard est plein. Vous entrerez dès qu’une place sera libre.',
  'obstacle.address':
    'Trop de connexions viennent de votre adresse réseau. Fermez les autres onglets de cette page ; d’autres personnes de votre réseau l’utilisent peut-être aussi.',
  'obstacle.origin':
    'Le standard n’accepte pas cette page à l’adresse où vous l’avez ouverte. Ouvrez le site à l’adresse que son exploitant indique.',
  'obstacle.no_websocket':
    'Le standard fonctionne, mais quelque chose en chemin bloque les appels (WebSocket). Essayez un autre réseau, ou désactivez le VPN, le proxy ou le filtre.',

  // What the server refuses.
  'refused.bad_queue':
    'Le nom après # dans l’adresse ne peut pas être utilisé : il peut avoir jusqu’à 64 lettres de A à Z, chiffres et _ . : -',
  'refused.rate_limited': 'C’était trop à la fois ; une partie a été abandonnée. Patientez un instant.',
  'refused.draining':
    'Le standard va redémarrer et ne lance plus d’appels. Après le redémarrage, vous serez de nouveau dans la file, à la fin.',
  'refused.misunderstood': 'Le standard n’a pas compris cette page. La recharger peut aider.',
  'refused.unknown_type': 'Le standard ne sait pas ce que cette page a demandé. La recharger peut aider.',
  'refused.other': 'Le standard a refusé quelque chose : {message}',

  // Figures.
  'users.none': 'Personne d’autre n’est là',
  'users.one': 'Une autre personne est là',
  'users.many': '{count} autres personnes sont là',
  'quality.none': 'Aucun son n’arrive',
  'quality.not_played': 'Le son est arrêté sur cet appareil',
  'quality.good': 'Ligne claire',
  'quality.fair': 'Ligne moyenne',
  'quality.poor': 'Mauvaise ligne',
  'quality.relayed': 'par un relais',
  'quality.direct': 'directe',
  'quality.delay': '{ms} ms',
};
