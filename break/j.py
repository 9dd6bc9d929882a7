from lib import *
IDS=dict(IDENTITY_SERVERS_DIR='/var/tmp/break')
def ctl(*a): return subprocess.run([os.environ['TEST_SERVERS'],*a],env={**os.environ,**IDS},capture_output=True,text=True)
for flags in (['--autocommit=0'],['--binlog-format=STATEMENT'],['--auto-increment-increment=7','--auto-increment-offset=3','--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_UNSIGNED_SUBTRACTION,PAD_CHAR_TO_FULL_LENGTH','--default-time-zone=+09:00','--transaction-isolation=SERIALIZABLE','--sql-require-primary-key=ON','--collation-server=utf8mb4_general_ci','--innodb-autoinc-lock-mode=0','--completion-type=CHAIN']):
    print('stop',ctl('stop','mysql','23307').stderr[-100:], ctl('start','mysql','23307',*flags).stdout.strip(), flags)
    url=newdb('my','brk_j'); a=Svc(url); b=Svc(url)
    if not a.port or not b.port: print(a.log()[-500:], b.log()[-500:]); a.stop(); b.stop(); continue
    print(show(a.call('a@x','1')),'|',show(b.call('b@x','1')),'|',show(b.call('b@x',None)),'|',show(a.call(None,'1')))
    with ThreadPoolExecutor(64) as ex: r=list(ex.map(lambda i:(a if i%2 else b).call(f'n{i}@x',f'9{i%50}'),range(400)))
    bad=[show(x) for x in r if x[0]!=200]; print('errors',len(bad),bad[:1])
    print('contacts',my(23307,'select count(*), (select count(*) from Identifier), (select count(*) from Identifier i join Contact c on c.id=i.contactId and (c.email=i.value or c.phoneNumber=i.value)), (select count(*) from Contact c left join Contact p on p.id=c.linkedId where c.linkedId is not null and (p.id is null or p.linkedId is not null)), (select group_concat(version) from seaql_migrations) from Contact',db='brk_j'))
    print([l[:200] for l in a.log().splitlines() if '"ERROR"' in l][:2])
    a.stop(); b.stop(); c=Svc(url); print('restart ok',c.port is not None, c.port and show(c.call('a@x',None))); c.stop()
ctl('stop','mysql','23307'); print(ctl('start','mysql','23307').stdout)
