/** The texts of the page in Brazilian Portuguese; en.js has the keys and what they mean. */
export const TEXTS = {
  // The page.
  'page.description':
    'Um chat de voz que conecta você a uma pessoa desconhecida. As vozes vão de navegador para navegador.',
  'page.footer':
    'As vozes vão de navegador para navegador e são criptografadas no caminho. Este site apenas conecta vocês; não grava as vozes.',

  // The two ends of a call.
  'you.name': 'Você',
  'you.level': 'Seu microfone',
  'you.off': 'microfone desligado',
  'you.on': 'microfone ligado',
  'you.muted': 'no mudo',
  'you.interrupted': 'interrompido',
  'partner.name': 'A outra pessoa',
  'partner.level': 'A voz da outra pessoa',
  'partner.none': 'sem conexão',
  'partner.searching': 'procurando',
  'partner.connecting': 'conectando',
  'partner.talking': 'na linha',
  'partner.muted': 'no mudo',
  'partner.silent': 'sem som',
  'partner.gone': 'saiu',
  'clock.label': 'Tempo decorrido',

  // Buttons.
  'button.ask': 'Ligar o microfone',
  'button.ask_again': 'Tentar de novo',
  'button.start': 'Começar',
  'button.next': 'Próximo',
  'button.find': 'Procurar outra pessoa',
  'button.mute': 'Desligar o microfone',
  'button.unmute': 'Religar o microfone',
  'button.stop': 'Parar',
  'button.play': 'Ouvir a outra pessoa',
  'button.microphone': 'Usar o meu microfone de novo',
  'button.sound': 'Ligar o som de novo',

  // While the visitor waits.
  'button.share': 'Compartilhar um link',
  'button.tell': 'Avise-me quando alguém chegar',
  'share.text': 'Venha falar comigo',
  'share.copied': 'Link copiado',
  'share.failed': 'Copie o endereço desta página',
  'waiting.expected': 'Em geral demora {time}.',
  'waiting.moments': 'só alguns segundos',
  'waiting.seconds': 'cerca de {count} segundos',
  'waiting.minute': 'cerca de um minuto',
  'waiting.minutes': 'cerca de {count} minutos',
  'queue.label': 'Fila',
  'queue.any': 'A comum',

  // Devices and settings.
  'settings.title': 'Dispositivos e configurações',
  'settings.microphone': 'Microfone',
  'settings.speaker': 'Alto-falante',
  'settings.system_device': 'Escolha do sistema',
  'settings.onward': 'Quando alguém sai, procurar automaticamente a próxima pessoa',
  'settings.relay_only': 'Esconder dos outros o meu endereço de rede',
  'settings.relay_available': 'As chamadas passam então pelo relay deste site.',
  'settings.relay_unknown': 'Precisa de um relay; este site ainda não anunciou nenhum.',
  'settings.relay_none': 'Precisa de um relay, e este site não tem nenhum.',
  'settings.relay_always': 'Este site faz isso sempre: todas as chamadas passam pelo relay dele.',
  'settings.relay_next': 'Uma mudança vale a partir da próxima chamada.',
  'settings.ring': 'Tocar quando alguém for encontrado',
  'settings.notify': 'Avisar-me quando alguém for encontrado e esta aba estiver oculta',
  'settings.notify_denied':
    'Este navegador não permite notificações desta página. Você pode permiti-las nas configurações do site, ao lado do endereço.',
  'settings.shortcuts': 'Letras soltas são atalhos:',
  'settings.key_mute': 'desligar o microfone',
  'settings.key_next': 'começar ou próximo',
  'settings.key_stop': 'parar',
  'settings.speaker_failed': 'Este alto-falante não pode ser usado. O anterior continua ligado.',

  // Who sees the network address.
  'privacy.visible': 'Quem fala com você pode ver o seu endereço de rede (IP), a menos que um relay o esconda.',
  'privacy.hidden': 'Um relay esconde o seu endereço de rede (IP) de quem fala com você.',

  // Phases.
  'starting.headline': 'Um momento',
  'starting.detail': 'A página está iniciando.',
  'blocked.insecure.headline': 'Esta página precisa de um endereço seguro',
  'blocked.insecure.detail':
    'Os navegadores só permitem o microfone com https:// ou em localhost. Abra esta página em um endereço assim.',
  'blocked.no_webrtc.headline': 'Este navegador não pode fazer chamadas',
  'blocked.no_webrtc.detail': 'Ele não tem WebRTC. Um Firefox, Chrome, Edge ou Safari recente tem.',
  'welcome.headline': 'Fale com uma pessoa desconhecida',
  'welcome.detail': 'Primeiro, ligue o seu microfone. Ninguém ouve você até que você toque em “Começar”.',
  'asking.headline': 'Podemos ouvir você?',
  'asking.detail': 'O seu navegador pede o microfone. Escolha “Permitir”.',
  'ready.headline': 'Diga alguma coisa',
  'ready.detail': 'Se o anel em volta da sua tomada se mexer, os outros podem ouvir você. Depois toque em “Começar”.',
  'searching.headline': 'Procurando alguém',
  'searching.detail': 'Você está na fila. Esta página conecta você automaticamente.',
  'searching.away.headline': 'Sem conexão',
  'searching.held.headline': 'Um momento, por favor',
  'searching.in_queue': 'Você está na fila “{queue}”. Esta página conecta você automaticamente.',
  'searching.asking': 'Pedindo um lugar na fila à central.',
  'searching.away': 'Você não está na fila porque não há conexão. Esta página coloca você na fila assim que houver.',
  'searching.too_many_matches':
    'Você trocou de pessoa muitas vezes. Esta página coloca você de novo na fila quando o tempo mostrado acabar.',
  'searching.rate_limited': 'A central recebe pedidos demais. Esta página coloca você na fila em um momento.',
  'searching.draining':
    'A central está prestes a reiniciar e não faz novas chamadas. Depois, esta página coloca você de novo na fila.',
  'searching.again': '{reason}. Procurando a próxima pessoa.',
  'found.title': 'Há alguém na linha',
  'found.body': 'Foi encontrada uma pessoa. Volte à página para falar.',
  'connecting.headline': 'Conectando vocês',
  'connecting.detail': 'Há alguém. Um momento.',
  'talking.headline': 'Vocês estão conversando',
  'talking.up': 'A linha é de vocês pelo tempo que quiserem.',
  'talking.silent': 'O som parou. Tentando restabelecer a conexão com a outra pessoa.',
  'talking.partner_away': 'A outra pessoa perdeu a conexão com a central. A chamada continua.',
  'talking.partner_gone':
    'A outra pessoa não está mais na central. Vocês podem continuar, ou você pode passar à próxima chamada.',
  'talking.own_gone':
    'A central não tem mais esta chamada. Vocês podem continuar, mas se o som parar, não poderá ser restabelecido.',
  'stopped.headline': 'Você parou',
  'stopped.detail': 'O seu microfone está desligado. “Começar” liga o microfone de novo e procura alguém.',

  // Searches that the page or the switchboard refuses.
  'no_line.bad_queue.headline': 'Esta fila não tem um nome válido',
  'no_line.bad_queue.detail':
    'A central não aceita o nome depois de # no endereço. Mude-o, ou apague-o para entrar na fila comum, e tente de novo.',
  'no_line.long_queue.headline': 'O nome desta fila é longo demais',
  'no_line.long_queue.detail':
    'O nome depois de # no endereço pode ter 64 letras de A a Z e algarismos; cada um dos outros caracteres conta como três ou mais. Encurte-o ou apague-o, e tente de novo.',
  'no_line.no_relay.headline': 'Nenhum relay pode esconder o seu endereço aqui',
  'no_line.no_relay.detail':
    'Você pediu para esconder o seu endereço de rede. Isso precisa de um relay, e este site não tem nenhum. Desligue isso em “Dispositivos e configurações” para falar aqui mesmo assim.',
  'no_line.other.headline': 'A central recusou a busca',
  'no_line.other.detail': 'Ela não deu um motivo que esta página entenda. Recarregar a página pode ajudar.',

  // Troubles with the microphone.
  'mic_failed.denied.headline': 'O microfone está bloqueado',
  'mic_failed.denied.detail':
    'Esta página não pode usar o microfone. Abra as configurações do site ao lado do endereço, permita o microfone e tente de novo.',
  'mic_failed.dismissed.headline': 'O microfone ainda está desligado',
  'mic_failed.dismissed.detail':
    'A pergunta do navegador foi fechada sem resposta. Tente de novo e escolha “Permitir”.',
  'mic_failed.none.headline': 'Nenhum microfone encontrado',
  'mic_failed.none.detail': 'Conecte um ou ligue o seu fone de ouvido e tente de novo. A página detecta um novo sozinha.',
  'mic_failed.busy.headline': 'O microfone está ocupado',
  'mic_failed.busy.detail': 'Outro programa parece estar usando o microfone. Feche esse programa e tente de novo.',
  'mic_failed.other.headline': 'O microfone não inicia',
  'mic_failed.other.detail':
    'O seu navegador não deu um motivo claro. Tente de novo, ou escolha outro microfone abaixo.',

  // Ends of a call.
  'ended.left.headline': 'A outra pessoa desligou',
  'ended.left.detail': 'Talvez outra pessoa esteja esperando agora mesmo.',
  'ended.next.headline': 'A outra pessoa passou à próxima',
  'ended.next.detail': 'Talvez outra pessoa esteja esperando agora mesmo.',
  'ended.disconnected.headline': 'A outra pessoa saiu',
  'ended.disconnected.detail': 'A conexão dela terminou inesperadamente.',
  'ended.timeout.headline': 'A outra pessoa saiu',
  'ended.timeout.detail': 'A conexão dela caiu e não voltou.',
  'ended.lost.headline': 'A chamada caiu',
  'ended.lost.detail': 'O som parou, e a conexão com a outra pessoa não pôde ser restabelecida.',
  'ended.unreachable.headline': 'Não há caminho até esta pessoa',
  'ended.unreachable.detail': 'As duas redes não conseguiram se alcançar. Com outra pessoa costuma funcionar.',
  'ended.relay_refused.headline': 'O relay recusou a chamada',
  'ended.relay_refused.detail':
    'O servidor TURN deste site recusou a senha que recebeu (401), por isso nenhuma chamada pode passar por ele. Quem opera este site precisa definir o mesmo segredo nos dois servidores.',
  'ended.relay_missing.headline': 'Nenhum relay responde',
  'ended.relay_missing.detail':
    'Você pediu para esconder o seu endereço de rede, o que precisa de um relay, mas nenhum responde. Desligue isso em “Dispositivos e configurações”, ou tente mais tarde.',

  // The connection to the server.
  'connection.continues': 'A chamada continua.',
  'connection.retrying': 'Tentando de novo.',
  'connection.draining': 'A central vai reiniciar.',
  'connection.reconnects': 'Esta página se reconecta automaticamente.',
  'connection.offline': 'O seu dispositivo está offline.',
  'connection.silent': 'A central não recebeu nada desta página por tempo demais.',
  'connection.internal': 'A central teve um erro interno.',
  'connection.restarting': 'A central está reiniciando.',
  'connection.slow': 'A sua rede era lenta demais para a central.',
  'connection.resumed': 'Esta sessão foi retomada por outra conexão.',
  'connection.misunderstood': 'A central não entendeu esta página.',
  'connection.unreachable': 'A central não responde.',

  // Why no connection can be opened.
  'obstacle.draining': 'A central está prestes a reiniciar e não aceita novas conexões.',
  'obstacle.full': 'A central está cheia. Você entra quando houver um lugar livre.',
  'obstacle.address':
    'Chegam conexões demais do seu endereço de rede. Feche outras abas com esta página; talvez outras pessoas da sua rede também a usem.',
  'obstacle.origin':
    'A central não aceita esta página no endereço em que você a abriu. Abra o site no endereço que o operador informa.',
  'obstacle.no_websocket':
    'A central funciona, mas algo no caminho bloqueia as chamadas (WebSocket). Tente outra rede, ou desligue a VPN, o proxy ou o filtro.',

  // What the server refuses.
  'refused.bad_queue':
    'O nome depois de # no endereço não pode ser usado: pode ter até 64 letras de A a Z, algarismos e _ . : -',
  'refused.rate_limited': 'Foi demais de uma vez; uma parte foi descartada. Espere um momento.',
  'refused.draining': 'A central vai reiniciar e não faz novas chamadas. Depois você estará de novo na fila, no fim.',
  'refused.misunderstood': 'A central não entendeu esta página. Recarregá-la pode ajudar.',
  'refused.unknown_type': 'A central não sabe o que esta página pediu. Recarregá-la pode ajudar.',
  'refused.other': 'A central recusou algo: {message}',

  // Figures.
  'users.none': 'Não há mais ninguém',
  'users.one': 'Há outra pessoa',
  'users.many': 'Há outras {count} pessoas',
  'quality.none': 'Não chega som',
  'quality.not_played': 'O som está parado neste aparelho',
  'quality.good': 'Linha clara',
  'quality.fair': 'Linha razoável',
  'quality.poor': 'Linha ruim',
  'quality.relayed': 'por um relay',
  'quality.direct': 'direta',
  'quality.delay': '{ms} ms',
};
