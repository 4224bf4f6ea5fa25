// What no page of the viewer may hold, whether it has an effect now or not.
() => {
    const found = [];
    const own = new URL('.', location.href).href;
    for (const one of document.querySelectorAll('*')) {
        for (const { name, value } of one.attributes)
            if (name.startsWith('on') || name === 'style' || name === 'srcdoc' || name === 'autofocus' || name === 'ping')
                found.push(`${one.tagName} ${name}=${value}`);
        if (/^(IFRAME|FRAME|OBJECT|EMBED|BASE|PORTAL|STYLE|MARQUEE|VIDEO|AUDIO|MATH|TEMPLATE)$/i.test(one.tagName)) found.push(one.outerHTML);
        if (one.tagName === 'SCRIPT' && !one.src.startsWith(own + 'static/viewer.js')) found.push(one.outerHTML);
        if (one.tagName === 'LINK' && !one.href.startsWith(own + 'static/')) found.push(one.outerHTML);
        if (one.tagName === 'FORM' && one.getAttribute('action') && !one.action.startsWith(own)) found.push(one.outerHTML);
        if (one.tagName === 'META' && one.httpEquiv) found.push(one.outerHTML);
        if (one.tagName === 'IMG' && !one.src.startsWith(own + 'picture?') && !/^data:image\/(png|jpeg|gif|webp);/.test(one.src)) found.push(one.outerHTML);
        if (one.tagName === 'A' && one.closest('.prose') && one.hasAttribute('href') && !/^(https?|mailto):/.test(one.getAttribute('href'))) found.push(one.outerHTML);
        if (one.tagName === 'A' && !one.closest('.prose') && !one.href.startsWith(own)) found.push(one.outerHTML);
    }
    return found;
}
