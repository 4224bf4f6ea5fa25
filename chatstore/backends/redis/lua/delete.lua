-- Delete a session.
--
-- ARGV[2]: '' to delete a session that is seen; else the revision at which it goes, expired or not.
--
-- {'done', revision, owner} or {'none'}.

if ARGV[2] == '' and not seen or ARGV[2] ~= '' and ARGV[2] ~= h[1] then return {'none'} end
vacate()
if ONCE then call('SET', ONCE, '1', 'EX', 60) end
return {'done', h[1], {h[4], h[5] or '', h[6] or ''}}
