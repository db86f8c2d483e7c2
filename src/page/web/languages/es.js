/** The texts of the page in Spanish; en.js has the keys and what they mean. */
export const TEXTS = {
  // The page.
  'page.description':
    'Un chat de voz que te conecta con una persona desconocida. Vuestras voces van de navegador a navegador.',
  'page.footer':
    'Vuestras voces van de navegador a navegador y están cifradas por el camino. Este sitio solo os conecta; no graba vuestras voces.',

  // The two ends of a call.
  'you.name': 'Tú',
  'you.level': 'Tu micrófono',
  'you.off': 'micrófono apagado',
  'you.on': 'micrófono encendido',
  'you.muted': 'silenciado',
  'you.interrupted': 'interrumpido',
  'partner.name': 'La otra persona',
  'partner.level': 'La voz de la otra persona',
  'partner.none': 'sin conexión',
  'partner.searching': 'buscando',
  'partner.connecting': 'conectando',
  'partner.talking': 'en línea',
  'partner.muted': 'en silencio',
  'partner.silent': 'sin sonido',
  'partner.gone': 'se ha ido',
  'clock.label': 'Tiempo transcurrido',

  // Buttons.
  'button.ask': 'Encender el micrófono',
  'button.ask_again': 'Intentar de nuevo',
  'button.start': 'Empezar',
  'button.next': 'Siguiente',
  'button.find': 'Buscar a otra persona',
  'button.mute': 'Silenciar',
  'button.unmute': 'Reactivar el micrófono',
  'button.stop': 'Parar',
  'button.play': 'Oír a la otra persona',
  'button.microphone': 'Volver a usar mi micrófono',
  'button.sound': 'Volver a activar el sonido',

  // While the visitor waits.
  'button.share': 'Compartir un enlace',
  'button.tell': 'Avísame cuando llegue alguien',
  'share.text': 'Ven a hablar conmigo',
  'share.copied': 'Enlace copiado',
  'share.failed': 'Copia la dirección de esta página',
  'waiting.expected': 'Suele tardar {time}.',
  'waiting.moments': 'solo unos segundos',
  'waiting.seconds': 'unos {count} segundos',
  'waiting.minute': 'alrededor de un minuto',
  'waiting.minutes': 'unos {count} minutos',
  'queue.label': 'Cola',
  'queue.any': 'La común',

  // Devices and settings.
  'settings.title': 'Dispositivos y ajustes',
  'settings.microphone': 'Micrófono',
  'settings.speaker': 'Altavoz',
  'settings.system_device': 'El que elija el sistema',
  'settings.onward': 'Cuando alguien se va, buscar automáticamente a la siguiente persona',
  'settings.relay_only': 'Ocultar mi dirección de red a los demás',
  'settings.relay_available': 'Las llamadas pasan entonces por el relé de este sitio.',
  'settings.relay_unknown': 'Necesita un relé; este sitio aún no ha anunciado ninguno.',
  'settings.relay_none': 'Necesita un relé, y este sitio no tiene ninguno.',
  'settings.relay_always': 'Este sitio lo hace siempre: todas las llamadas pasan por su relé.',
  'settings.relay_next': 'Un cambio vale a partir de la próxima llamada.',
  'settings.ring': 'Sonar cuando se encuentre a alguien',
  'settings.notify': 'Avisarme cuando se encuentre a alguien y esta pestaña esté oculta',
  'settings.notify_denied':
    'Este navegador no permite avisos de esta página. Puedes permitirlos en los ajustes del sitio, junto a la dirección.',
  'settings.shortcuts': 'Las letras sueltas son atajos:',
  'settings.key_mute': 'silenciar',
  'settings.key_next': 'empezar o siguiente',
  'settings.key_stop': 'parar',
  'settings.speaker_failed': 'Este altavoz no se puede usar. El anterior sigue activo.',

  // Who sees the network address.
  'privacy.visible': 'Quienes hablan contigo pueden ver tu dirección de red (IP), salvo que un relé la oculte.',
  'privacy.hidden': 'Un relé oculta tu dirección de red (IP) a quienes hablan contigo.',

  // Phases.
  'starting.headline': 'Un momento',
  'starting.detail': 'La página se está iniciando.',
  'blocked.insecure.headline': 'Esta página necesita una dirección segura',
  'blocked.insecure.detail':
    'Los navegadores solo permiten el micrófono con https:// o en localhost. Abre esta página en una dirección así.',
  'blocked.no_webrtc.headline': 'Este navegador no puede hacer llamadas',
  'blocked.no_webrtc.detail': 'No tiene WebRTC. Un Firefox, Chrome, Edge o Safari reciente sí lo tiene.',
  'welcome.headline': 'Habla con una persona desconocida',
  'welcome.detail': 'Primero, enciende tu micrófono. Nadie te oye hasta que pulses «Empezar».',
  'asking.headline': '¿Podemos oírte?',
  'asking.detail': 'Tu navegador pide el micrófono. Elige «Permitir».',
  'ready.headline': 'Di algo',
  'ready.detail': 'Si se mueve el anillo de tu toma, se te oye. Después pulsa «Empezar».',
  'searching.headline': 'Buscando a alguien',
  'searching.detail': 'Estás en la cola. Esta página te conecta automáticamente.',
  'searching.away.headline': 'Sin conexión',
  'searching.held.headline': 'Un momento, por favor',
  'searching.in_queue': 'Estás en la cola «{queue}». Esta página te conecta automáticamente.',
  'searching.asking': 'Se está pidiendo un lugar en la cola a la centralita.',
  'searching.away': 'No estás en la cola porque no hay conexión. Esta página te pondrá en la cola en cuanto la haya.',
  'searching.too_many_matches':
    'Has pasado a otra persona muchas veces. Esta página te pondrá de nuevo en la cola cuando pase el tiempo indicado.',
  'searching.rate_limited': 'Se pregunta demasiado a la centralita. Esta página te pondrá en la cola en un momento.',
  'searching.draining':
    'La centralita está a punto de reiniciarse y no hace llamadas nuevas. Después, esta página te pondrá de nuevo en la cola.',
  'searching.again': '{reason}. Buscando a la siguiente persona.',
  'found.title': 'Hay alguien en la línea',
  'found.body': 'Hemos encontrado a alguien. Vuelve a la página para hablar.',
  'connecting.headline': 'Te estamos conectando',
  'connecting.detail': 'Hay alguien. Un momento.',
  'talking.headline': 'Estáis hablando',
  'talking.up': 'La línea es vuestra todo el tiempo que queráis.',
  'talking.silent': 'El sonido se ha cortado. Intentando restablecer la conexión con la otra persona.',
  'talking.partner_away': 'La otra persona ha perdido la conexión con la centralita. Vuestra llamada continúa.',
  'talking.partner_gone':
    'La otra persona ya no está en la centralita. Podéis seguir hablando, o puedes pasar a la siguiente llamada.',
  'talking.own_gone':
    'La centralita ya no tiene esta llamada. Podéis seguir hablando, pero si se corta el sonido, no se podrá restablecer.',
  'stopped.headline': 'Has parado',
  'stopped.detail': 'Tu micrófono está apagado. «Empezar» lo enciende de nuevo y busca a alguien.',

  // Searches that the page or the switchboard refuses.
  'no_line.bad_queue.headline': 'Esta cola no tiene un nombre válido',
  'no_line.bad_queue.detail':
    'La centralita no acepta el nombre que sigue a # en la dirección. Cámbialo, o bórralo para entrar en la cola común, y vuelve a intentarlo.',
  'no_line.long_queue.headline': 'El nombre de esta cola es demasiado largo',
  'no_line.long_queue.detail':
    'El nombre que sigue a # en la dirección puede tener 64 letras de la A a la Z y cifras; cada uno de los demás caracteres cuenta por tres o más. Acórtalo o bórralo, y vuelve a intentarlo.',
  'no_line.no_relay.headline': 'Ningún relé puede ocultar tu dirección aquí',
  'no_line.no_relay.detail':
    'Has pedido ocultar tu dirección de red. Para eso hace falta un relé, y este sitio no tiene ninguno. Desactívalo en «Dispositivos y ajustes» para hablar aquí de todos modos.',
  'no_line.other.headline': 'La centralita ha rechazado la búsqueda',
  'no_line.other.detail': 'No ha dado un motivo que esta página entienda. Quizá ayude recargar la página.',

  // Troubles with the microphone.
  'mic_failed.denied.headline': 'El micrófono está bloqueado',
  'mic_failed.denied.detail':
    'Esta página no puede usar el micrófono. Abre los ajustes del sitio junto a la dirección, permite el micrófono e inténtalo de nuevo.',
  'mic_failed.dismissed.headline': 'El micrófono sigue apagado',
  'mic_failed.dismissed.detail':
    'La pregunta del navegador se cerró sin respuesta. Inténtalo de nuevo y elige «Permitir».',
  'mic_failed.none.headline': 'No se encuentra ningún micrófono',
  'mic_failed.none.detail':
    'Conecta uno o enciende tus auriculares e inténtalo de nuevo. La página detecta sola uno nuevo.',
  'mic_failed.busy.headline': 'El micrófono está ocupado',
  'mic_failed.busy.detail': 'Parece que otro programa lo está usando. Ciérralo e inténtalo de nuevo.',
  'mic_failed.other.headline': 'El micrófono no arranca',
  'mic_failed.other.detail':
    'Tu navegador no dio un motivo claro. Inténtalo de nuevo o elige otro micrófono más abajo.',

  // Ends of a call.
  'ended.left.headline': 'La otra persona ha colgado',
  'ended.left.detail': 'Quizá haya alguien más esperando ahora mismo.',
  'ended.next.headline': 'La otra persona ha pasado a la siguiente',
  'ended.next.detail': 'Quizá haya alguien más esperando ahora mismo.',
  'ended.disconnected.headline': 'La otra persona se ha ido',
  'ended.disconnected.detail': 'Su conexión terminó de forma inesperada.',
  'ended.timeout.headline': 'La otra persona se ha ido',
  'ended.timeout.detail': 'Su conexión se perdió y no volvió.',
  'ended.lost.headline': 'Se perdió la llamada',
  'ended.lost.detail': 'El sonido se cortó, y no se pudo restablecer la conexión con la otra persona.',
  'ended.unreachable.headline': 'No hay camino hacia esta persona',
  'ended.unreachable.detail': 'Vuestras dos redes no pudieron conectarse. Con otra persona suele funcionar.',
  'ended.relay_refused.headline': 'El relé ha rechazado la llamada',
  'ended.relay_refused.detail':
    'El servidor TURN de este sitio rechazó la contraseña que recibió (401), así que ninguna llamada puede pasar por él. Quien opera este sitio tiene que poner el mismo secreto en ambos servidores.',
  'ended.relay_missing.headline': 'No se puede alcanzar ningún relé',
  'ended.relay_missing.detail':
    'Has pedido ocultar tu dirección de red, para lo que hace falta un relé, pero ninguno responde. Desactívalo en «Dispositivos y ajustes», o inténtalo más tarde.',

  // The connection to the server.
  'connection.continues': 'Vuestra llamada continúa.',
  'connection.retrying': 'Intentándolo de nuevo.',
  'connection.draining': 'La centralita está a punto de reiniciarse.',
  'connection.reconnects': 'Esta página se reconecta automáticamente.',
  'connection.offline': 'Tu dispositivo está sin conexión.',
  'connection.silent': 'La centralita no recibió nada de esta página durante demasiado tiempo.',
  'connection.internal': 'La centralita tuvo un error interno.',
  'connection.restarting': 'La centralita se está reiniciando.',
  'connection.slow': 'Tu red era demasiado lenta para la centralita.',
  'connection.resumed': 'Esta sesión se retomó desde otra conexión.',
  'connection.misunderstood': 'La centralita no entendió esta página.',
  'connection.unreachable': 'No se puede contactar con la centralita.',

  // Why no connection can be opened.
  'obstacle.draining': 'La centralita está a punto de reiniciarse y no acepta conexiones nuevas.',
  'obstacle.full': 'La centralita está llena. Entrarás cuando quede un lugar libre.',
  'obstacle.address':
    'Llegan demasiadas conexiones desde tu dirección de red. Cierra otras pestañas con esta página; quizá también la usen otras personas de tu red.',
  'obstacle.origin':
    'La centralita no acepta esta página en la dirección en la que la abriste. Abre el sitio en la dirección que indica su operador.',
  'obstacle.no_websocket':
    'La centralita funciona, pero algo en el camino bloquea las llamadas (WebSocket). Prueba otra red, o desactiva la VPN, el proxy o el filtro.',

  // What the server refuses.
  'refused.bad_queue':
    'El nombre que sigue a # en la dirección no se puede usar: puede tener hasta 64 letras de la A a la Z, cifras y _ . : -',
  'refused.rate_limited': 'Eso fue demasiado de una vez; una parte se descartó. Espera un momento.',
  'refused.draining':
    'La centralita está a punto de reiniciarse y no hace llamadas nuevas. Después estarás de nuevo en la cola, al final.',
  'refused.misunderstood': 'La centralita no entendió esta página. Quizá ayude volver a cargarla.',
  'refused.unknown_type': 'La centralita no sabe qué pidió esta página. Quizá ayude volver a cargarla.',
  'refused.other': 'La centralita rechazó algo: {message}',

  // Figures.
  'users.none': 'No hay nadie más',
  'users.one': 'Hay otra persona',
  'users.many': 'Hay otras {count} personas',
  'quality.none': 'No llega sonido',
  'quality.not_played': 'El sonido está parado en este dispositivo',
  'quality.good': 'Línea clara',
  'quality.fair': 'Línea regular',
  'quality.poor': 'Línea mala',
  'quality.relayed': 'por un relé',
  'quality.direct': 'directa',
  'quality.delay': '{ms} ms',
};
