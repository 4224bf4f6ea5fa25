-- Delete a session that is seen; with EXPECTED one at that revision, expired or not.
--
-- {'deleted', {when it was changed, its tenant, its user} if the client keeps the lists, else {}} or {'none'}.

if EXPECTED == '' and not seen or EXPECTED ~= '' and EXPECTED ~= h[1] then return {'none'} end
vacate()
done_once()
return {'deleted', INDEX == '' and {h[4], h[5] or '', h[6] or ''} or {}}
