/** The texts of the page in French; en.js has the keys and what they mean. */
export const TEXTS = {
  // The page.
  'page.description':
    'Un chat vocal qui vous met en relation avec une personne inconnue. Vos voix vont de navigateur à navigateur.',
  'page.footer':
    'Vos voix vont de navigateur à navigateur et sont chiffrées en chemin. Ce site ne fait que vous mettre en relation ; il n’enregistre pas vos voix.',

  // The two ends of a call.
  'you.name': 'Vous',
  'you.level': 'Votre microphone',
  'you.off': 'micro coupé',
  'you.on': 'micro activé',
  'you.muted': 'muet',
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

  // Devices and settings.
  'settings.title': 'Appareils et réglages',
  'settings.microphone': 'Microphone',
  'settings.speaker': 'Haut-parleur',
  'settings.system_device': 'Choix du système',
  'settings.onward': 'Quand un interlocuteur part, chercher automatiquement le suivant',
  'settings.relay_only': 'Cacher mon adresse réseau aux autres',
  'settings.relay_available': 'Les appels passent alors par le relais de ce site.',
  'settings.relay_missing': 'Nécessite un relais ; ce site n’en a pas encore annoncé.',
  'settings.shortcuts': 'Les lettres seules sont des raccourcis :',
  'settings.key_mute': 'muet',
  'settings.key_next': 'démarrer ou suivant',
  'settings.key_stop': 'arrêter',
  'settings.speaker_failed': 'Ce haut-parleur ne peut pas être utilisé. Le précédent reste actif.',

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
    'D’abord, activez votre microphone. Personne ne vous entend avant que vous appuyiez sur « Démarrer ».',
  'asking.headline': 'Pouvons-nous vous entendre ?',
  'asking.detail': 'Votre navigateur demande le microphone. Choisissez « Autoriser ».',
  'ready.headline': 'Dites quelque chose',
  'ready.detail': 'Si l’anneau autour de votre prise bouge, on vous entend. Appuyez alors sur « Démarrer ».',
  'searching.headline': 'Recherche en cours',
  'searching.detail': 'Vous êtes dans la file. Cette page vous connecte automatiquement.',
  'searching.again': '{reason}. Recherche de l’interlocuteur suivant.',
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

  // Troubles with the microphone.
  'mic_failed.denied.headline': 'Le microphone est bloqué',
  'mic_failed.denied.detail':
    'Cette page n’a pas le droit d’utiliser le microphone. Ouvrez les réglages du site à côté de l’adresse, autorisez le microphone et réessayez.',
  'mic_failed.dismissed.headline': 'Le microphone est toujours coupé',
  'mic_failed.dismissed.detail':
    'La question du navigateur a été fermée sans réponse. Réessayez et choisissez « Autoriser ».',
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
    'Vous avez demandé à cacher votre adresse réseau, ce qui nécessite un relais, mais aucun ne répond. Désactivez cela sous « Appareils et réglages », ou réessayez plus tard.',

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

  // What the server refuses.
  'refused.bad_queue':
    'Le nom après # dans l’adresse ne peut pas être utilisé : il peut avoir jusqu’à 64 lettres, chiffres et _ . : -',
  'refused.rate_limited': 'C’était trop à la fois ; une partie a été abandonnée. Patientez un instant.',
  'refused.draining':
    'Le standard va redémarrer et ne lance plus d’appels. Après le redémarrage, vous serez de nouveau dans la file, à la fin.',
  'refused.misunderstood': 'Le standard n’a pas compris cette page. La recharger peut aider.',
  'refused.unknown_type': 'Le standard ne sait pas ce que cette page a demandé. La recharger peut aider.',
  'refused.other': 'Le standard a refusé quelque chose : {message}',

  // Figures.
  'users.none': 'Personne d’autre n’est là',
  'users.one': 'Une autre personne est là',
  'users.many': '{count} autres personnes sont là',
  'quality.good': 'Ligne claire',
  'quality.fair': 'Ligne moyenne',
  'quality.poor': 'Mauvaise ligne',
  'quality.relayed': 'par un relais',
  'quality.direct': 'directe',
  'quality.delay': '{ms} ms',
};
